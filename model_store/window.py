"""A limit on what may be spent within any stretch of time of one length.

What was drawn is kept by the part of the window in which it was, a small table however much goes
on. A part that is partly over counts in full, so the sum over no stretch exceeds the limit; nor
does what becomes of it a moment later, such as a call that is on its way to the expert: every
amount counts for `LATE` parts longer than the window is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from model_store.errors import StoreMisconfigured

PARTS: Final = 240
"""Parts of a window."""
LATE: Final = 2
"""Parts by which what was drawn may come to pass later: half a minute where it is an hour."""


@dataclass(frozen=True)
class Window:
    """What may be drawn.

    Parameters
    ----------
    limit
        The most that may be drawn within any `length_s`, in whole numbers of some unit.
    length_s
        In seconds; a quarter of a second at the least.

    Raises
    ------
    StoreMisconfigured
        If nothing could be drawn, or the parts would be shorter than Redis can tell.
    """

    limit: int
    length_s: float

    def __post_init__(self) -> None:
        if self.limit < 1 or self.length_s < PARTS / 1000:
            raise StoreMisconfigured(
                f"{self.limit} in {self.length_s} s is no limit to spend by.",
                f"allow 1 at the least, within {PARTS / 1000} s or more.",
            )

    @property
    def part_ms(self) -> int:
        """Length of a part in milliseconds."""
        return -int(-1000 * self.length_s // PARTS)

    @property
    def kept(self) -> int:
        """Parts before the present one that still count."""
        return PARTS + LATE

    @property
    def counted_s(self) -> float:
        """For how long an amount counts, on average, in seconds."""
        return (self.kept + 0.5) * self.part_ms / 1000


class Drawn:
    """What was drawn from a window, in the memory of one process. Not for several threads.

    Parameters
    ----------
    seconds
        A clock that never goes back.
    """

    def __init__(self, window: Window, seconds: Callable[[], float]) -> None:
        self._window = window
        self._seconds = seconds
        self._parts: dict[int, int] = {}

    @property
    def part(self) -> int:
        """Number of the present part."""
        return int(1000 * self._seconds() // self._window.part_ms)

    def total(self) -> int:
        """All that counts now."""
        oldest = self.part - self._window.kept
        self._parts = {part: amount for part, amount in self._parts.items() if part >= oldest}
        return sum(self._parts.values())

    def fits(self, amount: int) -> bool:
        """Whether so much can be drawn now."""
        return self.total() + amount <= self._window.limit

    def add(self, part: int, amount: int) -> None:
        """Count an amount, or less of one, in the part in which it was drawn."""
        self._parts[part] = self._parts.get(part, 0) + amount


def check_amounts(call_ids: Sequence[str], amounts: Sequence[int] | None) -> list[int]:
    """What each call draws: 1 where nothing else is said.

    Raises
    ------
    ValueError
        If they are not one for each call, or one is negative.
    """
    if amounts is None:
        return [1] * len(call_ids)
    if len(amounts) != len(call_ids) or any(amount < 0 for amount in amounts):
        msg = f"{list(amounts)} are no amounts of {len(call_ids)} calls"
        raise ValueError(msg)
    return list(amounts)


def check_costs(costs: Mapping[str, int]) -> None:
    """Raise `ValueError` on a call that cost less than nothing."""
    if any(cost < 0 for cost in costs.values()):
        msg = f"{list(costs.values())} can not be what calls have cost"
        raise ValueError(msg)

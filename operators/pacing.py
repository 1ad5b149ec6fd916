"""The spending plan of a budget that goes by the clock: how many events to send just now.

The ledger's window is what holds the limit. The plan is there so that the limit is hardly ever
met: it spends at the rate that fills the window and no faster, saves a little while there is
nothing to ask, and spreads what it has over the events that are to be expected, by how many came
of late. A burst of traffic so raises the threshold of what is sent, and empties nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from model_store.ledger import Usage
from model_store.window import Window
from operators.budget import Plan, SpendingPlan
from operators.expert.tariff import most_for_text
from operators.settings import CascadeSettings

_STEADY = 0.99  # of the rate that would fill the window to the last: room for chance
_SAVED = 1 / 20  # of the limit: the most that is saved up
_CALLS_SAVED = 5.0  # and at the least: a small budget must outlast a wait for unsure events
_RESERVE = 0.3  # of what can be saved up: not spent by plan, so that an audit is not refused
_HORIZON = 1 / 40  # of the window: time over which a surplus or a debt is evened out
_FIRST_LOOK = 0.05  # of the horizon: in which the first chunk is taken to have come
_CALLS_REMEMBERED = 200.0  # over which the cost of a call is averaged


class RatePlan:
    """A plan for one subtask, from what all of them have seen and spent together.

    Parameters
    ----------
    window
        What may be drawn.
    typical
        What a call is taken to draw before the first one was made.
    monotonic
        A clock in seconds that never goes back.
    """

    def __init__(self, window: Window, typical: int, monotonic: Callable[[], float]) -> None:
        self._window = window
        self._monotonic = monotonic
        self._rate = _STEADY * window.limit / window.counted_s
        self._horizon_s = _HORIZON * window.length_s
        self._typical = max(1, typical)
        self._cost = _Average(self._typical)
        self._traffic = _Traffic(self._horizon_s)
        self._saved = self._most_saved
        self._last: Usage | None = None
        self._last_s = 0.0

    @property
    def _most_saved(self) -> float:
        most = max(_SAVED * self._window.limit, _CALLS_SAVED * self._cost.mean)
        return min(most, self._window.limit)

    def look(self, usage: Usage, events: int) -> None:
        """Take note of what came and what was sent since the last time."""
        now, last = self._monotonic(), self._last or usage
        elapsed_s = 0.0 if self._last is None else now - self._last_s
        self._cost.add(usage.spent - last.spent, _first_calls(usage) - _first_calls(last))
        sent = _sent(usage) - _sent(last)
        earned = self._rate * elapsed_s
        self._saved = min(self._most_saved, self._saved + earned - self._cost.mean * sent)
        self._traffic.add(usage.seen, events, elapsed_s)
        self._last, self._last_s = usage, now

    def cap(self, seen: int) -> int | None:
        """None: the ledger's window is the limit."""
        return None

    def left(self, usage: Usage, events: int = 0) -> int:
        """Calls for events of this chunk: what is saved, if the window has it."""
        # A call is drawn at its most, and must find room for that.
        room = (self._window.limit - usage.drawn) / max(self._typical, self._cost.mean)
        return max(0, math.floor(min(self._saved / self._cost.mean, room)))

    def left_to_warm_up(self, usage: Usage, events: int = 0) -> int:
        """All that is left: it is little, and more comes by the minute."""
        return self.left(usage, events)

    def remaining(self, usage: Usage) -> int:
        """Calls that the window still has room for, at what they have cost so far."""
        mean = usage.spent / usage.reserved if usage.reserved and usage.spent else self._typical
        return max(0, math.floor((self._window.limit - usage.drawn) / mean))

    def rate(self, usage: Usage, horizon: int) -> float:
        """Share of the events to come that can be sent."""
        saved = self._saved - _RESERVE * self._most_saved
        free = self._window.limit - usage.drawn - self._typical
        due = (self._rate * self._horizon_s + min(saved, free)) / self._cost.mean
        expected = max(1.0, self._traffic.per_second * self._horizon_s)
        return min(1.0, max(0.0, due / expected))

    def early_rate(self, usage: Usage, horizon: int) -> float:
        """The same: by the clock nothing is gained by being early."""
        return self.rate(usage, horizon)


def plan_of(settings: CascadeSettings, monotonic: Callable[[], float]) -> Plan:
    """The plan of a job's budget: by counts, or by the clock.

    Raises
    ------
    ValueError
        As `SpendingPlan`.
    """
    window = settings.budget.window if settings.budget is not None else None
    if window is None:
        return SpendingPlan(settings.budget)
    return RatePlan(window, most_for_text(settings, ""), monotonic)


def _sent(usage: Usage) -> int:
    """Deferrals, but for those that cost nothing in the end."""
    return usage.deferred - usage.refunded - usage.refused


def _first_calls(usage: Usage) -> int:
    return usage.reserved - usage.retried


class _Average:
    """What an event's calls have cost of late, retries included."""

    def __init__(self, first: float) -> None:
        self._amount, self._calls = float(first), 1.0

    @property
    def mean(self) -> float:
        return max(1.0, self._amount / max(1.0, self._calls))

    def add(self, amount: int, calls: int) -> None:
        keep = (1 - 1 / _CALLS_REMEMBERED) ** max(0, calls)
        self._amount = keep * self._amount + amount
        self._calls = keep * self._calls + calls


class _Traffic:
    """How many events come in a second, by those of late."""

    def __init__(self, horizon_s: float) -> None:
        self._horizon_s = horizon_s
        self._expected: int | None = None  # to have been seen, with the chunk before
        self._count = 0.0
        self._watched_s = _FIRST_LOOK * horizon_s

    @property
    def per_second(self) -> float:
        weight_s = self._horizon_s * -math.expm1(-self._watched_s / self._horizon_s)
        return self._count / weight_s

    def add(self, seen: int, events: int, elapsed_s: float) -> None:
        others = 0 if self._expected is None else seen - self._expected
        self._count *= math.exp(-elapsed_s / self._horizon_s)
        # In a restore the counts of a shard go back.
        self._count += max(0, others) + events
        self._watched_s += elapsed_s
        self._expected = seen + events

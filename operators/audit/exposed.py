"""Counts the accepted answers of a shard from one audit to the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from operators.records import Exposure


class Exposed:
    """Accepted answers that an audit could have met since the last one that happened.

    They travel with the next audit's deferral, so that what is known of an answer and how many
    there were arrive together, once, whatever fails in between.
    """

    def __init__(self, before: Sequence[Exposure]) -> None:
        self._counts = Counter({(part.level, part.answer): part.accepted for part in before})

    def add(self, level: str, answer: int) -> None:
        """Count one more: of this level, with this label."""
        self._counts[level, answer] += 1

    def so_far(self) -> tuple[Exposure, ...]:
        """All that was counted, to be kept."""
        return tuple(Exposure(*group, count) for group, count in sorted(self._counts.items()))

    def hand_over(self) -> tuple[Exposure, ...]:
        """All that was counted, and begin anew."""
        handed = self.so_far()
        self._counts.clear()
        return handed

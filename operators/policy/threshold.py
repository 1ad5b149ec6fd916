"""A threshold on deferral scores that lets a wanted share of the events pass."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


class ScoreWindow:
    """The latest deferral scores, as a stand-in for those to come.

    Parameters
    ----------
    size
        Scores kept.
    """

    def __init__(self, size: int) -> None:
        self._scores: deque[float] = deque(maxlen=size)

    def extend(self, scores: Iterable[float]) -> None:
        """Take in scores, oldest first."""
        self._scores.extend(scores)

    def latest(self, count: int) -> list[float]:
        """The newest `count` scores, oldest first."""
        return list(self._scores)[-count:]

    def scores(self) -> npt.NDArray[np.float64]:
        """All scores in the window, oldest first."""
        return np.fromiter(self._scores, np.float64)

    def threshold(self, rate: float) -> float:
        """Score that a share `rate` of the window reaches: its (1 - rate) quantile.

        Returns
        -------
        -inf if all are to pass, +inf if none is or none has been seen.
        """
        if rate >= 1:
            return -np.inf
        if rate <= 0 or not self._scores:
            return np.inf
        scores = self.scores()
        place = min(int((1 - rate) * len(scores)), len(scores) - 1)
        return float(np.partition(scores, place)[place])


def highest(
    scores: npt.NDArray[np.float64], wanted: npt.NDArray[np.bool_], limit: int | None
) -> npt.NDArray[np.bool_]:
    """Of the wanted, keep those with the `limit` highest scores (all if None)."""
    if limit is None or int(wanted.sum()) <= limit:
        return wanted
    kept = np.zeros_like(wanted)
    order = np.argsort(-np.where(wanted, scores, -np.inf), kind="stable")
    kept[order[:limit]] = True
    return kept

"""The promotion gate: whether what was learned since may serve in place of what serves now.

Candidate and head are scored on the same annotations, which neither has learned from, so that hard
events, noise and wrong labels weigh on both alike. The quadratic score is taken, not the share of
right answers: of two models that are much alike, few answers differ but all probabilities do, so
that a hundred annotations tell them apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit  # scipy.stats takes longer to import

from operators.levels.port import Probabilities
from operators.settings import PromotionSettings

Scores = npt.NDArray[np.float64]
"""Shape (annotations,), each in [0, 1]; NaN where there is none."""
_DIGITS = 4


def quadratic(probabilities: Probabilities, labels: npt.NDArray[np.intp]) -> Scores:
    """Brier's score, turned so that more is better.

    Parameters
    ----------
    probabilities
        Shape (events, labels).
    labels
        Shape (events,): the expert's answers.

    Returns
    -------
    1 - |p - e_y|^2 / 2 for each event: 1 for a right answer without a doubt, 0 for a wrong one.
    """
    missed = probabilities.copy()
    missed[np.arange(len(labels)), labels] -= 1
    return np.asarray(1 - (missed**2).sum(axis=1) / 2)


@dataclass(frozen=True)
class Ruling:
    """What the gate found.

    Parameters
    ----------
    annotations
        How many were held against.
    candidate, head
        Mean scores on them.
    lower
        What the candidate's score is above the head's at the least, with the stated confidence.
    """

    annotations: int
    candidate: float
    head: float
    lower: float
    settings: PromotionSettings

    @property
    def promoted(self) -> bool:
        """Whether the candidate may become the head."""
        return self.lower >= -self.settings.margin

    @property
    def reason(self) -> str | None:
        """Why it may not; None if it may."""
        if self.promoted:
            return None
        return (
            f"it scores {self.candidate:.3f} on {self.annotations} annotations that were held "
            f"out, the head {self.head:.3f}; with {self.settings.confidence:.0%} confidence it may "
            f"be worse by {-self.lower:.3f}, the margin is {self.settings.margin:g}"
        )

    def stats(self) -> dict[str, float | int | str]:
        """The same as facts for the manifest."""
        return {
            "gate.annotations": self.annotations,
            "gate.candidate": round(self.candidate, _DIGITS),
            "gate.head": round(self.head, _DIGITS),
            "gate.lower": round(self.lower, _DIGITS),
            "gate.margin": self.settings.margin,
            "gate.confidence": self.settings.confidence,
        }


def rule(candidate: Scores, head: Scores, settings: PromotionSettings) -> Ruling | None:
    """Hold a candidate against the head: a one-sided paired t-test of non-inferiority.

    Each ruling has the stated confidence by itself. Rulings that follow on one another share
    annotations and are not independent; the mean of a hundred bounded differences is normal enough.

    Returns
    -------
    None where fewer than `least` annotations are scored for both: nothing can be told yet.
    """
    known = ~np.isnan(head)
    count = int(known.sum())
    if count < settings.least:
        return None
    better = candidate[known] - head[known]
    spread = float(better.std(ddof=1)) / count**0.5
    lower = float(better.mean()) - float(stdtrit(count - 1, settings.confidence)) * spread
    return Ruling(count, float(candidate[known].mean()), float(head[known].mean()), lower, settings)

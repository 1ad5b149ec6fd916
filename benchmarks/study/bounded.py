"""A fixed head of bounded weights in hindsight: what Theorem 3.1 measures a learner by.

The theorem wants a convex cost and a bounded model space: here the log loss, and all softmax heads
on a frozen encoder's embeddings whose weights have a norm of at most `radius`. The head is fitted
to all events, and then defers those that it doubts the most: fitted to the others alone, it could
be a little better.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from operators.policy import calibration

RADII = (4.0, 8.0)
_LEAST = 1e-4  # probabilities below it cost no more: those of decisions are rounded
_WEAKEST, _STRONGEST, _STEPS = -3.0, 5.0, 8  # of the search, in powers of ten of 1 / penalty
_MOST_ITERATIONS = 500


def log_loss(given: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cost of the probability that the expert's label was given."""
    return np.asarray(-np.log(np.maximum(given, _LEAST)))


def fitted_cost(
    embeddings: npt.NDArray[np.float32], labels: npt.NDArray[np.intp], calls: int, radius: float
) -> float:
    """Log loss of what a head answers that is fitted to all, and defers the `calls` most doubtful.

    Parameters
    ----------
    embeddings, labels
        Shapes (events, dimension) and (events,), the expert's labels.
    radius
        Largest Euclidean norm of the head's weights, without its offsets.
    """
    weakest, strongest = _WEAKEST, _STRONGEST
    best = _fitted(embeddings, labels, weakest)
    for _ in range(_STEPS):
        middle = (weakest + strongest) / 2
        head = _fitted(embeddings, labels, middle)
        if _norm(head) <= radius:
            best, weakest = head, middle
        else:
            strongest = middle
    probabilities = best.predict_proba(embeddings)
    answered = np.argsort(-calibration.doubt(probabilities), kind="stable")[calls:]
    columns = np.searchsorted(best.classes_, labels[answered])
    return float(log_loss(probabilities[answered, columns]).sum())


def _norm(head: LogisticRegression) -> float:
    """Of the softmax head's weights; of two labels only the difference of their rows is given."""
    norm = float(np.linalg.norm(head.coef_))
    return norm / 2**0.5 if len(head.coef_) == 1 else norm


def _fitted(
    embeddings: npt.NDArray[np.float32], labels: npt.NDArray[np.intp], strength: float
) -> LogisticRegression:
    head = LogisticRegression(C=10**strength, max_iter=_MOST_ITERATIONS)
    return head.fit(embeddings, labels)

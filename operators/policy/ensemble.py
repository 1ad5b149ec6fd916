"""The levels' opinions, averaged: a weighted geometric mean whose weights are learned online.

Insurance against a weak level, and a calibration at once: with one level the weight is the inverse
of a temperature.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from operators.levels.port import Probabilities

_FLOOR = 1e-9  # probability under which a logarithm is not taken
_FIRST = 0.5  # weight of a level that better ones come after
_WEIGHT_RANGE = (0.05, 5.0)  # no level is ever silenced, none is trusted without bound

Weights = npt.NDArray[np.float64]


def first(levels: int) -> Weights:
    """Weights before learning: the last level leads, since it is there for being the best.

    They sum to the number of levels, so that a single one is taken at its word. With equal ones the
    weaker levels drag the better down where labels are few.
    """
    weights = np.full(levels, _FIRST)
    weights[-1] = levels - _FIRST * (levels - 1)
    return weights


def scale(weights: Weights, asked: int) -> float:
    """Factor for the weights of the first `asked` levels, so that together they are as sure as all.

    One for all of them; without it an answer that leaves early would be told with a doubt that
    belongs to levels nobody asked.
    """
    return float(asked / len(weights) * weights.sum() / weights[:asked].sum())


def log_opinion(probabilities: Probabilities) -> npt.NDArray[np.float64]:
    """Logarithm of probabilities, kept finite."""
    return np.asarray(np.log(probabilities + _FLOOR))


def normalise(logits: npt.NDArray[np.float64]) -> Probabilities:
    """Row-wise softmax."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    normal: Probabilities = shifted / shifted.sum(axis=-1, keepdims=True)
    return normal


def combine(opinions: Sequence[Probabilities], weights: Weights) -> Probabilities:
    """Opinions of the first levels, shape (events, labels) each, into one of that shape."""
    total = sum(w * log_opinion(p) for w, p in zip(weights, opinions, strict=False))
    return normalise(np.asarray(total))


def improve(
    weights: Weights, opinions: Sequence[Probabilities], labels: npt.NDArray[np.intp], rate: float
) -> Weights:
    """One step of online gradient descent on the log loss for each annotation, in order."""
    lowest, highest = _WEIGHT_RANGE
    for logs, label in zip(log_opinion(np.stack(opinions, axis=1)), labels, strict=True):
        gradient = logs @ normalise(weights @ logs) - logs[:, label]
        # np.clip does the same in many times the time.
        weights = np.minimum(np.maximum(weights - rate * gradient, lowest), highest)
    return weights

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
_WEIGHT_RANGE = (0.05, 3.0)  # no level is ever silenced, none is trusted without bound

Weights = npt.NDArray[np.float64]


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

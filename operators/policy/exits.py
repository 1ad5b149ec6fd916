"""Exit gates: whether a small level may answer alone, or a later one would disagree with it.

A calibrated estimate of that disagreement (Platt scaling of the level's confidence), learned from
annotated events, each weighted by the inverse of its propensity: without the weight the gate would
know only the events that looked hard.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from operators.levels.port import Probabilities

_RATE = 0.2  # AdaGrad step of the scaling
_LARGEST_WEIGHT = 50.0  # an audit of 2 % counts in full, a rarer one no more
_FLOOR = 1e-6  # confidence is kept this far from 0 and 1
_FIRST_SQUARE = 1e-2
FIRST = np.array([0.0, 1.0])
"""Offset and slope before learning: the estimate is 1 - the highest probability."""

Gate = npt.NDArray[np.float64]


def _doubt(probabilities: Probabilities) -> npt.NDArray[np.float64]:
    """Log-odds that the most probable label is wrong, as the level itself sees it."""
    top = np.clip(probabilities.max(axis=-1), _FLOOR, 1 - _FLOOR)
    return np.asarray(np.log1p(-top) - np.log(top))


def risk(gate: Gate, probabilities: Probabilities) -> npt.NDArray[np.float64]:
    """Estimated probability that the later small levels would give another label."""
    return np.asarray(1 / (1 + np.exp(-(gate[0] + gate[1] * _doubt(probabilities)))))


def improve(
    gates: Gate,
    squares: Gate,
    opinions: Sequence[Probabilities],
    together: Probabilities,
    propensity: npt.NDArray[np.float64],
) -> None:
    """Take one AdaGrad step a gate on a batch of annotations, in place.

    Parameters
    ----------
    gates, squares
        Shape (levels - 1, 2): offsets and slopes, and their accumulated squared gradients.
    opinions
        For each small level, shape (annotations, labels).
    together
        Shape (annotations, labels): what all the small levels say together.
    """
    weight = np.minimum(1 / propensity, _LARGEST_WEIGHT)
    weight = weight / weight.sum()
    final = together.argmax(axis=-1)
    for level, gate in enumerate(gates):
        disagrees = opinions[level].argmax(axis=-1) != final
        error = (risk(gate, opinions[level]) - disagrees) * weight
        gradient = np.array([error.sum(), (error * _doubt(opinions[level])).sum()])
        squares[level] += gradient**2
        gate -= _RATE * gradient / np.sqrt(squares[level] + _FIRST_SQUARE)

"""Platt scaling, learned online: from a model's confidence to the probability that it is wrong."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.levels.port import Probabilities

_RATE = 0.2  # AdaGrad step
_LARGEST_WEIGHT = 50.0  # an audit of 2 % counts in full, a rarer one no more
_FLOOR = 1e-6  # confidence is kept this far from 0 and 1
_FIRST_SQUARE = 1e-2
FIRST = np.array([0.0, 1.0])
"""Offset and slope before learning: the estimate is 1 - the highest probability."""

Scaling = npt.NDArray[np.float64]
"""Shape (2,): offset and slope on the log-odds that the model itself gives against its answer."""
Shares = npt.NDArray[np.float64]


def risk(scaling: Scaling, doubt: Shares) -> Shares:
    """Estimated probability of being wrong, for what the model believes it to be.

    Parameters
    ----------
    doubt
        1 - the highest probability, in [0, 1], any shape.
    """
    return np.asarray(1 / (1 + np.exp(-(scaling[0] + scaling[1] * _log_odds(doubt)))))


def doubt(probabilities: Probabilities) -> Shares:
    """1 - the highest probability of each row."""
    return np.asarray(1 - probabilities.max(axis=-1))


def step(
    scaling: Scaling,
    squares: Scaling,
    doubt: Shares,
    wrong: npt.NDArray[np.bool_],
    propensity: Shares,
) -> None:
    """Take one AdaGrad step on a batch of annotated events, in place.

    Parameters
    ----------
    squares
        Accumulated squared gradients.
    doubt, wrong, propensity
        Shape (events,). Each event weighs the inverse of the probability with which it was
        annotated: without, the scaling would know only the events that looked hard.
    """
    weight = np.minimum(1 / propensity, _LARGEST_WEIGHT)
    error = (risk(scaling, doubt) - wrong) * weight / weight.sum()
    gradient = np.array([error.sum(), (error * _log_odds(doubt)).sum()])
    squares += gradient**2
    scaling -= _RATE * gradient / np.sqrt(squares + _FIRST_SQUARE)


def _log_odds(share: Shares) -> Shares:
    inside = np.clip(share, _FLOOR, 1 - _FLOOR)
    return np.asarray(np.log(inside) - np.log1p(-inside))

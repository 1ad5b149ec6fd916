"""Exit gates: whether a small level may answer alone, or a later one would disagree with it.

A calibrated estimate of that disagreement for each level but the last, learned from annotated
events of all kinds: what the later levels say costs no label.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from operators.levels.port import Probabilities
from operators.policy import calibration

Gates = npt.NDArray[np.float64]
"""Shape (levels - 1, 2): a scaling for each level but the last."""


def first(levels: int) -> Gates:
    """Gates before learning."""
    return np.tile(calibration.FIRST, (levels - 1, 1))


def improve(
    gates: Gates,
    squares: Gates,
    opinions: Sequence[Probabilities],
    together: Probabilities,
    propensity: npt.NDArray[np.float64],
) -> None:
    """Take one step a gate on a batch of annotations, in place.

    Parameters
    ----------
    squares
        Accumulated squared gradients, in the shape of the gates.
    opinions
        For each small level, shape (annotations, labels).
    together
        Shape (annotations, labels): what all the small levels say together.
    """
    final = together.argmax(axis=-1)
    for gate, square, opinion in zip(gates, squares, opinions[: len(gates)], strict=True):
        disagrees = opinion.argmax(axis=-1) != final
        calibration.step(gate, square, calibration.doubt(opinion), disagrees, propensity)

"""How unsure the small levels are of an event: the scores of uncertainty sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from operators.coins import coins
from operators.levels.port import Probabilities

FloatArray = npt.NDArray[np.float64]
_FLOOR = 1e-12  # probability under which a logarithm is not taken


Score = Callable[[FloatArray, Probabilities], FloatArray]
"""From opinions (levels, events, labels) and what the levels say together (events, labels) to a
score for each event; higher ones go to the expert first."""


def max_probability(opinions: FloatArray, together: Probabilities) -> FloatArray:
    """1 - the probability of the most probable label (least confidence)."""
    return np.asarray(1 - together.max(axis=1))


def margin(opinions: FloatArray, together: Probabilities) -> FloatArray:
    """1 - the distance between the two most probable labels."""
    ordered = np.sort(together, axis=1)
    return np.asarray(1 - (ordered[:, -1] - ordered[:, -2]))


def entropy(opinions: FloatArray, together: Probabilities) -> FloatArray:
    """Entropy of the label probabilities, in nats."""
    return np.asarray(-(together * np.log(together + _FLOOR)).sum(axis=1))


def committee(opinions: FloatArray, together: Probabilities) -> FloatArray:
    """Share of the members that contradict the answer, as in neural caching (Ramirez et al.).

    Members are few, so least confidence orders the events of which as many contradict.
    """
    answer = together.argmax(axis=1)
    contradicting = (opinions.argmax(axis=2) != answer).mean(axis=0)
    return np.asarray(contradicting + max_probability(opinions, together) / (len(opinions) + 1))


def by_chance(seed: int, ids: Sequence[str]) -> FloatArray:
    """A score that knows nothing: uniform, a function of seed and id."""
    return coins(seed, "random deferral", ids)

"""Asks a level about texts, any of which may be one that it fails on.

What fails a task is replayed, so a text that a level can not take would fail it time and again. Of
such a text the level has no opinion, and the others are none the worse for it. A level that fails
on a harmless text too is broken itself: that is raised, so that it is started anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operators.levels.port import Probabilities

_log = logging.getLogger(__name__)
PROBE = "a harmless text"
Predict = Callable[[Sequence[str]], Probabilities]


@dataclass(frozen=True)
class Opinions:
    """What a level says about texts.

    Parameters
    ----------
    probabilities
        Shape (texts, labels); uniform where it has no opinion.
    given
        Shape (texts,): whether it has one.
    """

    probabilities: Probabilities
    given: npt.NDArray[np.bool_]

    @property
    def missing(self) -> int:
        """Texts of which it has none."""
        return len(self.given) - int(np.count_nonzero(self.given))


def ask(level: str, predict: Predict, texts: Sequence[str]) -> Opinions:
    """Ask about all texts at once, and by halves where that fails, down to the single text.

    Probabilities that are not finite are a failure as well: they would spoil all that is computed
    from them.

    Parameters
    ----------
    level
        Its name, for the log; texts, and messages that may quote them, do not get there.

    Raises
    ------
    MemoryError
        Always, for it says nothing about a text.
    Exception
        What the level raises on `PROBE`, if it fails on that too.
    """
    failures: list[str] = []
    opinions = _ask(predict, texts, failures)
    if failures:
        _log.warning(
            "level %s failed (%s): it has no opinion of %d of the %d texts",
            level,
            ", ".join(sorted(set(failures))),
            opinions.missing,
            len(texts),
        )
    return opinions


def _ask(predict: Predict, texts: Sequence[str], failures: list[str]) -> Opinions:
    try:
        return Opinions(_finite(predict(texts)), np.ones(len(texts), np.bool_))
    except MemoryError:
        raise
    except Exception as error:
        failures.append(type(error).__name__)
    if len(texts) < 2:
        labels = _finite(predict([PROBE])).shape[1]
        uniform = np.full((len(texts), labels), 1 / labels)
        return Opinions(uniform, np.zeros(len(texts), np.bool_))
    middle = len(texts) // 2
    halves = [_ask(predict, half, failures) for half in (texts[:middle], texts[middle:])]
    return Opinions(
        np.concatenate([half.probabilities for half in halves]),
        np.concatenate([half.given for half in halves]),
    )


def _finite(probabilities: Probabilities) -> Probabilities:
    if not np.isfinite(probabilities).all():
        raise FloatingPointError("probabilities are not finite")
    return probabilities

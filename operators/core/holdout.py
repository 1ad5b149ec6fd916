"""Annotations that are held out: first they test what was learned, later they are learned."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from operators.coins import coins
from operators.core.gate import Ruling, Scores, rule
from operators.records import Annotation
from operators.settings import PromotionSettings


class _Held(msgspec.Struct):
    annotation: Annotation
    head: float | None
    """Score of the release that serves; None if it is not known."""


class Holdout:
    """A random sample of the latest annotations, which nothing has learned from.

    A coin that knows nothing but the event's id puts an annotation in, the oldest leaves when it is
    full. A small share spreads it over many annotations, so that a stretch of bad ones can not
    fill it.

    Parameters
    ----------
    seed
        Of the coins.
    """

    def __init__(self, settings: PromotionSettings, seed: int) -> None:
        self._settings = settings
        self._seed = seed
        self._held: deque[_Held] = deque()

    def __len__(self) -> int:
        """Annotations held out now."""
        return len(self._held)

    @property
    def texts(self) -> list[str]:
        """Their texts, oldest first."""
        return [held.annotation.text for held in self._held]

    @property
    def labels(self) -> npt.NDArray[np.intp]:
        """The expert's labels of them, as indices into the task's labels."""
        return np.array([held.annotation.label for held in self._held], np.intp)

    def admit(self, annotations: Sequence[Annotation]) -> list[Annotation]:
        """Hold some of the new annotations out.

        Returns
        -------
        Those to be learned now, in order: new ones, and ones that were held out long enough.
        """
        drawn = coins(self._seed, "holdout", [annotation.event_id for annotation in annotations])
        learned = []
        for annotation, coin in zip(annotations, drawn, strict=True):
            if coin >= self._settings.holdout:
                learned.append(annotation)
                continue
            self._held.append(_Held(annotation, annotation.score))
            if len(self._held) > self._settings.window:
                learned.append(self._held.popleft().annotation)
        return learned

    def rule(self, candidate: Scores) -> Ruling | None:
        """Hold a candidate's scores, in the order of `texts`, against those of the head."""
        head = [np.nan if held.head is None else held.head for held in self._held]
        return rule(candidate, np.array(head), self._settings)

    def serve(self, scores: Scores) -> None:
        """Take note of the scores of what serves from now on."""
        for held, score in zip(self._held, scores, strict=True):
            held.head = float(score)

    def snapshot(self) -> bytes:
        """What is held out, and what is known of the head."""
        return msgspec.msgpack.encode(list(self._held))

    def restore(self, snapshot: bytes) -> None:
        """Become what `snapshot` described."""
        self._held = deque(msgspec.msgpack.decode(snapshot, type=list[_Held]))

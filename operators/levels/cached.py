"""The paper's caches: a level is updated when enough annotations have been gathered, not before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from operators.levels.buffer import ReplayBuffer
from operators.levels.port import Learner, Probabilities, Tensors, expect, prefixed, under

_AGGREGATED = 100_000  # D of Algorithm 1, bounded; a uniform sample beyond


class CachedLearner:
    """Passes annotations on to a learner in full caches (Table 3: 8 for the logistic regression).

    Parameters
    ----------
    size
        Annotations in a cache.
    aggregate
        Learn as many examples drawn from the whole aggregated D beside each full cache
        (the paper's text), or drop a cache once it was learned (the authors' code).
    """

    def __init__(self, inner: Learner, size: int, aggregate: bool, seed: int) -> None:
        self._inner = inner
        self._size = size
        self._cache: list[tuple[str, int]] = []
        self._everything = ReplayBuffer(_AGGREGATED, seed) if aggregate else None
        self._updates = 0

    @property
    def name(self) -> str:
        """Name of the level that this teaches."""
        return self._inner.name

    @property
    def updates(self) -> int:
        """Caches learned so far."""
        return self._updates

    def predict(self, texts: Sequence[str]) -> Probabilities:
        """Label probabilities under the weights of this moment."""
        return self._inner.predict(texts)

    def predict_again(self, texts: Sequence[str]) -> Probabilities:
        """As `predict`, of texts that are asked about time and again."""
        return self._inner.predict_again(texts)

    def learn(self, texts: Sequence[str], labels: Sequence[int]) -> None:
        """Gather annotations; teach each time the cache is full."""
        for example in zip(texts, labels, strict=True):
            self._cache.append(example)
            if len(self._cache) == self._size:
                self._flush()

    def _flush(self) -> None:
        lesson = self._cache
        if self._everything is not None:
            lesson = [
                one for new in self._cache for one in (new, *self._everything.exchange(*new, 1))
            ]
        self._inner.learn([text for text, _ in lesson], [label for _, label in lesson])
        self._cache = []
        self._updates += 1

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Weights of the inner learner, and how often it was updated: that drives beta."""
        return self._inner.tensors() | {"updates": np.array([self._updates], np.int64)}

    def adopt(self, tensors: Tensors) -> None:
        """Go on from published weights; what the cache held is learned on top of them."""
        updates = expect(tensors, "updates", np.int64, (1,))
        self._inner.adopt(tensors)
        self._updates = int(updates[0])

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """The inner learner, the cache and D."""
        state = prefixed("inner", self._inner.snapshot())
        state["cache"] = np.frombuffer(msgspec.msgpack.encode(self._cache), np.uint8)
        state["updates"] = np.array([self._updates], np.int64)
        if self._everything is not None:
            state |= prefixed("everything", self._everything.snapshot())
        return state

    def restore(self, snapshot: Tensors) -> None:
        """Become what `snapshot` described."""
        self._inner.restore(under("inner", snapshot))
        self._cache = msgspec.msgpack.decode(
            snapshot["cache"].tobytes(), type=list[tuple[str, int]]
        )
        self._updates = int(snapshot["updates"][0])
        if self._everything is not None:
            self._everything.restore(under("everything", snapshot))

"""Online logistic regression on hashed n-grams: the learning half of the linear level.

One step for each annotation, together with replayed ones, and document frequencies learned from
the same annotations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.errors import TensorMismatch
from operators.levels.buffer import ReplayBuffer
from operators.levels.features import Counts, Hasher, IntArray, RememberingHasher
from operators.levels.port import Probabilities, Tensors, expect
from operators.levels.regression import FloatArray, Regression
from operators.levels.slots import Slots, grown
from operators.levels.tfidf import tfidf
from operators.settings import LinearSettings

_FIRST_SLOTS = 1 << 12
_MORE_ROWS = 512  # kept beside those of the replay buffer before they are looked through


class LinearLearner:
    """Learns the linear level from the expert's answers.

    Parameters
    ----------
    labels
        Number of labels.
    seed
        Of the replay draws; same examples and seed, same weights.
    hasher
        Shared with the serving half where both are in one process: a text is hashed once.
    """

    def __init__(
        self, settings: LinearSettings, labels: int, seed: int, hasher: Hasher | None = None
    ) -> None:
        self._settings = settings
        self._labels = labels
        self._seed = seed
        self._hasher = hasher or RememberingHasher(settings.features)
        self._forget()

    def _forget(self) -> None:
        self._slots = Slots(self._hasher.size)
        self._regression = Regression(self._settings, self._labels)
        self._frequency = np.zeros(_FIRST_SLOTS, np.float32)
        self._documents = 0
        self._updates = 0
        self._buffer = ReplayBuffer(self._settings.buffer, self._seed)
        self._rows: dict[str, tuple[IntArray, FloatArray]] = {}  # slots and counts of the buffer

    @property
    def name(self) -> str:
        """Name of the level that this teaches."""
        return self._settings.name

    @property
    def updates(self) -> int:
        """Calls of `learn` so far."""
        return self._updates

    def predict(self, texts: Sequence[str]) -> Probabilities:
        """Label probabilities under the weights of this moment."""
        counts = self._hasher(texts)
        slots = self._slots.find(counts.indices)
        values = tfidf(replace(counts, indices=slots), self._frequency, self._documents)
        return self._regression.predict(slots, values, counts.indptr)

    def predict_again(self, texts: Sequence[str]) -> Probabilities:
        """As `predict`: what costs is hashing, and the counts of the latest texts are kept."""
        return self.predict(texts)

    def learn(self, texts: Sequence[str], labels: Sequence[int]) -> None:
        """Take a step for each new example, on it and the replayed ones together."""
        if not texts:
            return
        replayed = [
            self._buffer.exchange(t, y, self._settings.replay)
            for t, y in zip(texts, labels, strict=True)
        ]
        self._meet(texts)
        lessons = [
            lesson
            for text, label, old in zip(texts, labels, replayed, strict=True)
            for lesson in ((text, label), *old)
        ]
        counts = Counts.of_rows([self._recall(text) for text, _ in lessons])
        owners = counts.rows
        values = tfidf(counts, self._frequency, self._documents)
        answers = np.array([label for _, label in lessons])
        first = 0
        for old in replayed:
            end = first + 1 + len(old)
            span = slice(counts.indptr[first], counts.indptr[end])
            self._regression.step(
                counts.indices[span], values[span], owners[span] - first, answers[first:end]
            )
            first = end
        if len(self._rows) > _MORE_ROWS + self._settings.buffer:
            self._rows = {text: self._rows[text] for text in self._buffer.texts & self._rows.keys()}
        self._updates += 1

    def _meet(self, texts: Sequence[str]) -> None:
        """Count in how many documents each feature stands, for new texts."""
        counts = self._hasher(texts)
        for row, text in enumerate(texts):
            slots, _ = self._keep(text, counts, row)
            self._frequency[slots] += 1
        self._documents += len(texts)

    def _keep(self, text: str, counts: Counts, row: int) -> tuple[IntArray, FloatArray]:
        span = slice(counts.indptr[row], counts.indptr[row + 1])
        slots = self._slots.assign(counts.indices[span])
        self._frequency = grown(self._frequency, self._slots.end)
        self._regression.grow(self._slots.end)
        self._rows[text] = slots, counts.counts[span].copy()
        return self._rows[text]

    def _recall(self, text: str) -> tuple[IntArray, FloatArray]:
        """Slots and counts of a text that was learned; hashed again only after a restore."""
        known = self._rows.get(text)
        return self._keep(text, self._hasher([text]), 0) if known is None else known

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The rows that learning has touched: a release grows with what was learned.

        Returns
        -------
        ``rows`` int32 (touched,), ``weights`` float32 (touched, labels), ``frequency`` float32
        (touched,), ``bias`` float32 (labels,), ``documents`` float32 (1,). Rows are in the order
        in which they were first learned.
        """
        end = self._slots.end
        return {
            "rows": self._slots.features.copy(),
            "weights": self._regression.weights(end).copy(),
            "frequency": self._frequency[1:end].copy(),
            "bias": self._regression.bias.copy(),
            "documents": np.array([self._documents], np.float32),
        }

    def adopt(self, tensors: Tensors) -> None:
        """Go on from published weights, with a fresh optimizer and an empty replay buffer."""
        rows, weights, frequency, bias, documents = check(tensors, self._hasher.size, self._labels)
        self._forget()
        self._slots.assign(rows)
        end = self._slots.end
        self._regression.grow(end)
        self._regression.weights(end)[:] = weights
        self._regression.bias[:] = bias
        self._frequency = grown(self._frequency, end)
        self._frequency[1:end] = frequency
        self._documents = int(documents)

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Weights, optimizer, counters and replay buffer."""
        learned = self._regression
        state = self.tensors()
        state["squares"] = learned.squares(self._slots.end).copy()
        state["bias_squares"] = learned.bias_squares.copy()
        state["counters"] = np.array([self._documents, learned.steps, self._updates], np.int64)
        return state | {f"buffer.{key}": value for key, value in self._buffer.snapshot().items()}

    def restore(self, snapshot: Tensors) -> None:
        """Become the learner that `snapshot` describes."""
        self.adopt(snapshot)
        learned = self._regression
        learned.squares(self._slots.end)[:] = snapshot["squares"]
        learned.bias_squares = np.array(snapshot["bias_squares"], np.float32)
        self._documents, learned.steps, self._updates = (int(n) for n in snapshot["counters"])
        self._buffer.restore(
            {
                key.removeprefix("buffer."): value
                for key, value in snapshot.items()
                if key.startswith("buffer.")
            }
        )


def check(
    tensors: Tensors, size: int, labels: int
) -> tuple[npt.NDArray[np.int32], FloatArray, FloatArray, FloatArray, float]:
    """Hold a linear level's published tensors against what the level expects.

    Returns
    -------
    rows, weights, frequency, bias, documents: see `LinearLearner.tensors`.

    Raises
    ------
    TensorMismatch
        If one is missing, or its type, shape or range does not fit.
    """
    rows = expect(tensors, "rows", np.int32, (None,))
    count = len(rows)
    weights = expect(tensors, "weights", np.float32, (count, labels))
    frequency = expect(tensors, "frequency", np.float32, (count,))
    bias = expect(tensors, "bias", np.float32, (labels,))
    documents = expect(tensors, "documents", np.float32, (1,))
    if count and (rows.min() < 0 or rows.max() >= size or not _distinct(rows, size)):
        raise TensorMismatch("rows", f"they are not distinct feature numbers below {size}")
    if (frequency < 0).any() or documents[0] < 0:
        raise TensorMismatch("frequency", "it counts a negative number of documents")
    return rows, weights, frequency, bias, float(documents[0])


def _distinct(rows: npt.NDArray[np.int32], size: int) -> bool:
    met = np.zeros(size, np.bool_)
    met[rows] = True
    return np.count_nonzero(met) == len(rows)

"""Online logistic regression on hashed n-grams: the learning half of the linear level.

Multinomial, one step an example on the sparse entries alone (AdaGrad, or the paper's online
gradient descent), with document frequencies learned from the same annotations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.errors import TensorMismatch
from operators.levels.buffer import ReplayBuffer
from operators.levels.features import IntArray, RememberingHasher
from operators.levels.port import Probabilities, Tensors, expect
from operators.levels.tfidf import tfidf
from operators.settings import LinearSettings

FloatArray = npt.NDArray[np.float32]
_EPSILON = np.float32(1e-6)  # keeps AdaGrad's first division finite
_REMEMBERED = 512  # latest texts whose counts are kept, beside those of the replay buffer
_FIRST_SQUARE = np.float32(1e-2)  # AdaGrad's initial accumulator: damps the first steps


def softmax(logits: npt.NDArray[Any]) -> Probabilities:
    """Row-wise softmax in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]  # numpy's Any


class LinearLearner:
    """Learns the linear level from the expert's answers.

    Parameters
    ----------
    labels
        Number of labels.
    seed
        Of the replay draws; same examples and seed, same weights.
    """

    def __init__(self, settings: LinearSettings, labels: int, seed: int) -> None:
        self._settings = settings
        self._labels = labels
        self._seed = seed
        self._hasher = RememberingHasher(settings.features, _REMEMBERED + settings.buffer)
        self._forget()

    def _forget(self) -> None:
        size, labels = self._hasher.size, self._labels
        # A feature's weights and AdaGrad's squares lie side by side: one gather a step, not two.
        self._table = np.zeros((size, 2 * labels), np.float32)
        self._table[:, labels:] = _FIRST_SQUARE
        self._bias = np.zeros(labels, np.float32)
        self._bias_squares = np.full(labels, _FIRST_SQUARE, np.float32)
        self._frequency = np.zeros(size, np.float32)
        self._documents = 0
        self._steps = 0
        self._updates = 0
        self._buffer = ReplayBuffer(self._settings.buffer, self._seed)

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
        values = tfidf(counts, self._frequency, self._documents)
        weights = self._table.take(counts.indices, axis=0)[:, : self._labels]
        sums = np.zeros((len(values) + 1, self._labels))
        np.cumsum(weights * values[:, None], axis=0, out=sums[1:])
        return softmax(sums[counts.indptr[1:]] - sums[counts.indptr[:-1]] + self._bias)

    def learn(self, texts: Sequence[str], labels: Sequence[int]) -> None:
        """Take one step on each new example, each followed by steps on replayed ones."""
        if not texts:
            return
        replayed = [
            self._buffer.exchange(t, y, self._settings.replay)
            for t, y in zip(texts, labels, strict=True)
        ]
        lessons = [
            lesson
            for text, label, old in zip(texts, labels, replayed, strict=True)
            for lesson in ((text, label), *old)
        ]
        counts = self._hasher([text for text, _ in lessons])
        new = np.cumsum([0, *(1 + len(old) for old in replayed[:-1])])
        for row in new:
            self._frequency[counts.indices[counts.indptr[row] : counts.indptr[row + 1]]] += 1
        self._documents += len(new)
        values = tfidf(counts, self._frequency, self._documents)
        for row, (_, label) in enumerate(lessons):
            span = slice(counts.indptr[row], counts.indptr[row + 1])
            self._step(counts.indices[span], values[span], label)
        self._updates += 1

    def _step(self, indices: IntArray, inputs: FloatArray, label: int) -> None:
        """Descend on the log loss of one example."""
        entries = self._table.take(indices, axis=0)  # a copy; far faster than fancy indexing
        weights, squares = entries[:, : self._labels], entries[:, self._labels :]
        error = inputs @ weights + self._bias
        error -= error.max()
        np.exp(error, out=error)
        error /= error.sum()
        error[label] -= 1
        gradient = np.multiply.outer(inputs, error)
        if self._settings.l2:
            gradient += np.float32(self._settings.l2) * weights
        self._steps += 1
        if self._settings.optimizer == "adagrad":
            rate = np.float32(self._settings.rate)
            squares += gradient * gradient
            gradient /= np.sqrt(squares) + _EPSILON
            self._bias_squares += error * error
            error /= np.sqrt(self._bias_squares) + _EPSILON
        else:
            rate = np.float32(self._settings.rate / self._steps**0.5)  # Theorem 3.1: t ** -1/2
        weights -= rate * gradient
        self._table[indices] = entries
        self._bias -= rate * error

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The rows that learning has touched: a release grows with what was learned.

        Returns
        -------
        ``rows`` int32 (touched,), ``weights`` float32 (touched, labels), ``frequency`` float32
        (touched,), ``bias`` float32 (labels,), ``documents`` float32 (1,).
        """
        rows = np.flatnonzero(self._frequency)
        return {
            "rows": rows.astype(np.int32),
            "weights": np.ascontiguousarray(self._table.take(rows, axis=0)[:, : self._labels]),
            "frequency": self._frequency[rows],
            "bias": self._bias.copy(),
            "documents": np.array([self._documents], np.float32),
        }

    def adopt(self, tensors: Tensors) -> None:
        """Go on from published weights, with a fresh optimizer and an empty replay buffer."""
        rows, weights, frequency, bias, documents = check(tensors, self._hasher.size, self._labels)
        self._forget()
        self._table[rows, : self._labels], self._frequency[rows] = weights, frequency
        self._bias[:], self._documents = bias, int(documents)

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Weights, optimizer, counters and replay buffer."""
        state = self.tensors()
        rows = state["rows"]
        state["squares"] = self._table[rows, self._labels :]
        state["bias_squares"] = self._bias_squares.copy()
        state["counters"] = np.array([self._documents, self._steps, self._updates], np.int64)
        return state | {f"buffer.{key}": value for key, value in self._buffer.snapshot().items()}

    def restore(self, snapshot: Tensors) -> None:
        """Become the learner that `snapshot` describes."""
        self.adopt(snapshot)
        rows = snapshot["rows"]
        self._table[rows, self._labels :] = snapshot["squares"]
        self._bias_squares = np.array(snapshot["bias_squares"], np.float32)
        self._documents, self._steps, self._updates = (int(n) for n in snapshot["counters"])
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
    if count and (rows.min() < 0 or rows.max() >= size or (np.diff(rows) <= 0).any()):
        raise TensorMismatch("rows", f"they are not ascending feature numbers below {size}")
    if (frequency < 0).any() or documents[0] < 0:
        raise TensorMismatch("frequency", "it counts a negative number of documents")
    return rows, weights, frequency, bias, float(documents[0])

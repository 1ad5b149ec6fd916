"""A multinomial logistic regression that grows with its features, and steps on the sparse entries.

AdaGrad, or the paper's online gradient descent (Theorem 3.1).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from operators.levels.features import IntArray
from operators.levels.port import Probabilities
from operators.levels.slots import grown
from operators.settings import LinearSettings

FloatArray = npt.NDArray[np.float32]
_EPSILON = np.float32(1e-6)  # keeps AdaGrad's first division finite
_FIRST_SQUARE = np.float32(1e-2)  # AdaGrad's initial accumulator: damps the first steps
_FIRST_SLOTS = 1 << 12


def softmax(logits: npt.NDArray[np.floating[Any]]) -> Probabilities:
    """Row-wise softmax in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    normal: Probabilities = shifted / shifted.sum(axis=-1, keepdims=True)
    return normal


class Regression:
    """Weights by slot, see `Slots`, and the optimizer's memory of them.

    Parameters
    ----------
    labels
        Number of labels.

    Attributes
    ----------
    bias, bias_squares
        Shape (labels,), float32.
    steps
        Steps taken so far.
    """

    def __init__(self, settings: LinearSettings, labels: int) -> None:
        self._settings = settings
        self._labels = labels
        # A slot's weights and AdaGrad's squares lie side by side: one gather a step, not two.
        self._table = np.zeros((_FIRST_SLOTS, 2 * labels), np.float32)
        self._table[:, labels:] = _FIRST_SQUARE
        self._bytes = self._table.view(f"V{self._table.strides[0]}")
        self._place = np.zeros(_FIRST_SLOTS, np.int64)  # scratch: where in a step a slot stands
        self.bias = np.zeros(labels, np.float32)
        self.bias_squares = np.full(labels, _FIRST_SQUARE, np.float32)
        self.steps = 0

    def grow(self, end: int) -> None:
        """Have rows for all slots below `end`."""
        had = len(self._table)
        self._table = grown(self._table, end)
        self._table[had:, self._labels :] = _FIRST_SQUARE
        self._bytes = self._table.view(f"V{self._table.strides[0]}")
        self._place = grown(self._place, end)

    def weights(self, end: int) -> FloatArray:
        """The weights of all slots from 1 to below `end`, a view of shape (slots, labels)."""
        return self._table[1:end, : self._labels]

    def squares(self, end: int) -> FloatArray:
        """AdaGrad's accumulated squares, likewise."""
        return self._table[1:end, self._labels :]

    def predict(self, slots: IntArray, values: FloatArray, indptr: IntArray) -> Probabilities:
        """Label probabilities of texts, each the entries ``indptr[r]:indptr[r + 1]``."""
        # (labels, entries): laid out along the entries, as in `step`.
        terms = np.ascontiguousarray(self._table.take(slots, axis=0)[:, : self._labels].T)
        terms *= values
        filled = np.flatnonzero(np.diff(indptr))
        sums = np.zeros((self._labels, len(indptr) - 1), np.float32)
        if len(filled):
            sums[:, filled] = np.add.reduceat(terms, indptr[filled], axis=1)
        return softmax(sums.T + self.bias)

    def step(
        self, slots: IntArray, values: FloatArray, owners: IntArray, answers: IntArray
    ) -> None:
        """Descend on the log loss of some examples, summed.

        Parameters
        ----------
        slots, values, owners
            Shape (entries,): slot and value of each entry, and whose it is. A slot stands once in
            an example.
        answers
            Shape (examples,): their labels.
        """
        distinct, columns = self._distinct(slots)
        inputs = np.zeros((len(answers), len(distinct)), np.float32)
        inputs[owners, columns] = values
        # (2 labels, slots): laid out along the slots, each operation is one long loop.
        entries = np.ascontiguousarray(self._table.take(distinct, axis=0).T)
        weights, squares = entries[: self._labels], entries[self._labels :]
        error = inputs @ weights.T
        error += self.bias
        error -= error.max(axis=1, keepdims=True)
        np.exp(error, out=error)
        error /= error.sum(axis=1, keepdims=True)
        error[np.arange(len(answers)), answers] -= 1
        gradient = error.T @ inputs
        if self._settings.l2:
            gradient += np.float32(self._settings.l2) * weights
        bias_gradient = error.sum(axis=0)
        self.steps += 1
        if self._settings.optimizer == "adagrad":
            rate = np.float32(self._settings.rate)
            squares += gradient * gradient
            gradient /= np.sqrt(squares) + _EPSILON
            self.bias_squares += bias_gradient * bias_gradient
            bias_gradient /= np.sqrt(self.bias_squares) + _EPSILON
        else:
            rate = np.float32(self._settings.rate / self.steps**0.5)  # Theorem 3.1: t ** -1/2
        gradient *= rate
        weights -= gradient
        # As rows of bytes they are put back in a fifth of the time.
        self._bytes[distinct] = np.ascontiguousarray(entries.T).view(self._bytes.dtype)
        self.bias -= rate * bias_gradient

    def _distinct(self, slots: IntArray) -> tuple[IntArray, IntArray]:
        """Each slot once, and for each entry which of them is its own. Faster than `np.unique`."""
        order = np.arange(len(slots))
        self._place[slots] = order
        distinct = slots[self._place[slots] == order]
        self._place[distinct] = order[: len(distinct)]
        return distinct, self._place[slots]

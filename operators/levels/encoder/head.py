"""The head: a softmax regression on embeddings, learned by Adam. Numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.errors import TensorMismatch
from operators.levels.port import Probabilities, Tensors, expect
from operators.levels.regression import softmax

FloatArray = npt.NDArray[np.float32]
_FIRST_DECAY, _SECOND_DECAY = 0.9, 0.999  # Adam's usual ones
_EPSILON = 1e-8


class Head:
    """Weights (dimension, labels) and bias (labels,), kept as one matrix with the bias last.

    Parameters
    ----------
    rate
        Adam's learning rate.
    l2
        Penalty on the weights, not on the bias.
    """

    def __init__(self, dimension: int, labels: int, rate: float, l2: float) -> None:
        self._shape = (dimension + 1, labels)
        self._rate = rate
        self._penalty = np.full((dimension + 1, 1), l2)
        self._penalty[-1] = 0
        self.forget()

    def forget(self) -> None:
        """Know nothing: every label is as probable as the others."""
        self._matrix = np.zeros(self._shape)
        self._first = np.zeros(self._shape)
        self._second = np.zeros(self._shape)
        self._steps = 0

    def predict(self, embeddings: FloatArray) -> Probabilities:
        """Label probabilities, shape (rows, labels)."""
        weights, bias = self._published()
        return softmax(embeddings.astype(np.float64) @ weights + bias)

    def step(self, embeddings: FloatArray, labels: npt.NDArray[np.intp]) -> None:
        """Take one step on the mean log loss of these examples."""
        inputs = np.hstack([embeddings.astype(np.float64), np.ones((len(labels), 1))])
        error = softmax(inputs @ self._matrix)
        error[np.arange(len(labels)), labels] -= 1
        gradient = inputs.T @ error / len(labels) + self._penalty * self._matrix
        self._steps += 1
        self._first += (1 - _FIRST_DECAY) * (gradient - self._first)
        self._second += (1 - _SECOND_DECAY) * (gradient**2 - self._second)
        first = self._first / (1 - _FIRST_DECAY**self._steps)
        second = self._second / (1 - _SECOND_DECAY**self._steps)
        self._matrix -= self._rate * first / (np.sqrt(second) + _EPSILON)

    def _published(self) -> tuple[FloatArray, FloatArray]:
        # What is judged and learned from is what would be served: rounded to float32.
        return self._matrix[:-1].astype(np.float32), self._matrix[-1].astype(np.float32)

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """``weights`` float32 (dimension, labels) and ``bias`` float32 (labels,)."""
        weights, bias = self._published()
        return {"weights": weights, "bias": bias}

    def adopt(self, tensors: Tensors) -> None:
        """Go on from published weights with a fresh optimizer.

        Raises
        ------
        model_store.errors.TensorMismatch
            If one is missing or has another shape; the head stays what it was.
        """
        weights, bias = check_head(tensors, self._shape[0] - 1, self._shape[1])
        self.forget()
        self._matrix[:-1], self._matrix[-1] = weights, bias

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Weights and optimizer."""
        return {
            "matrix": self._matrix.copy(),
            "first": self._first.copy(),
            "second": self._second.copy(),
            "steps": np.array([self._steps], np.int64),
        }

    def restore(self, snapshot: Tensors) -> None:
        """Become the head that `snapshot` describes."""
        self._matrix = np.array(snapshot["matrix"])
        self._first = np.array(snapshot["first"])
        self._second = np.array(snapshot["second"])
        self._steps = int(snapshot["steps"][0])


def check_head(tensors: Tensors, dimension: int, labels: int) -> tuple[FloatArray, FloatArray]:
    """Hold a head's published tensors against what is expected.

    Raises
    ------
    model_store.errors.TensorMismatch
        If one is missing, has another type or shape, or is not finite.
    """
    weights = expect(tensors, "weights", np.float32, (dimension, labels))
    bias = expect(tensors, "bias", np.float32, (labels,))
    return finite("weights", weights), finite("bias", bias)


def finite(name: str, tensor: FloatArray) -> FloatArray:
    """Pass a tensor on if all of it is finite: NaN would answer every event alike.

    Raises
    ------
    model_store.errors.TensorMismatch
        If it is not.
    """
    if not np.isfinite(tensor).all():
        raise TensorMismatch(name, "it holds values that are not finite")
    return tensor

"""The head: a softmax regression on embeddings, fitted anew as labels come in. No torch.

Labels are few and embeddings wide, so what matters is the penalty and that the optimum is reached:
a fit to hundreds of labels costs tens of milliseconds, less than the steps that would come near it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.errors import TensorMismatch
from operators.levels.encoder.optimum import Labels, Matrix, optimum
from operators.levels.encoder.parts import PartWeights
from operators.levels.port import Probabilities, Tensors, expect
from operators.levels.regression import softmax

FloatArray = npt.NDArray[np.float32]


class Head:
    """Weights (dimension, labels) and bias (labels,), kept as one matrix with the bias last.

    Parameters
    ----------
    l2
        Penalty on the weights of embeddings that are scaled to variance 1, in terms of the logit:
        the inverse of the variance that a label's logit is expected to have. Not on the bias.
    parts
        Of equal length that an embedding consists of, one or two.
    """

    def __init__(self, dimension: int, labels: int, l2: float, parts: int = 1) -> None:
        self._shape = (dimension + 1, labels)
        self._penalty = l2 * dimension
        self._parts = PartWeights(dimension, parts)
        self.forget()

    def forget(self) -> None:
        """Know nothing: every label is as probable as the others."""
        self._matrix = np.zeros(self._shape)
        self._prior = np.zeros(self._shape)
        self._parts.forget()

    def predict(self, embeddings: FloatArray) -> Probabilities:
        """Label probabilities, shape (rows, labels)."""
        weights, bias = self._published()
        return softmax(embeddings.astype(np.float64) @ weights + bias)

    def fit(self, embeddings: FloatArray, labels: Labels, weights: Matrix | None = None) -> None:
        """Find the weights with the least penalised log loss on these examples.

        An example's weight says for how many it stands; without weights each stands for itself.

        The penalty draws towards what was adopted last, or to knowing nothing: few examples can
        not undo a release that many have made. A label that is not among the examples becomes
        improbable, never impossible. Starting from the present weights saves iterations.
        """
        inputs = embeddings.astype(np.float64)
        share = np.ones(len(labels)) if weights is None else weights
        self._parts.review(self._prior, inputs, labels, share, self._fitted)
        entries = self._parts.entries()
        self._matrix = self._fitted(self._matrix, inputs, labels, share, entries)

    def _fitted(
        self, start: Matrix, inputs: Matrix, labels: Labels, share: Matrix, entries: Matrix
    ) -> Matrix:
        prior, penalty = self._prior, self._penalty
        return optimum(
            inputs, labels, share, prior=prior, start=start, penalty=penalty, entries=entries
        )

    def _published(self) -> tuple[FloatArray, FloatArray]:
        # What is judged and learned from is what would be served: rounded to float32.
        return self._matrix[:-1].astype(np.float32), self._matrix[-1].astype(np.float32)

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """``weights`` float32 (dimension, labels) and ``bias`` float32 (labels,)."""
        weights, bias = self._published()
        return {"weights": weights, "bias": bias}

    def adopt(self, tensors: Tensors) -> None:
        """Go on from published weights.

        Raises
        ------
        model_store.errors.TensorMismatch
            If one is missing or has another shape; the head stays what it was.
        """
        weights, bias = check_head(tensors, self._shape[0] - 1, self._shape[1])
        self._matrix = np.vstack([weights, bias]).astype(np.float64)
        self._prior = self._matrix.copy()
        self._parts.forget()

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Weights, what the penalty draws towards, and how much each part counts."""
        state = {"matrix": self._matrix.copy(), "prior": self._prior.copy()}
        return state | {"parts": self._parts.snapshot()}

    def restore(self, snapshot: Tensors) -> None:
        """Become the head that `snapshot` describes.

        Raises
        ------
        model_store.errors.TensorMismatch
            If that one has other embeddings or labels; the head stays what it was.
        """
        matrix, prior = (expect(snapshot, n, np.float64, self._shape) for n in ("matrix", "prior"))
        self._parts.restore(expect(snapshot, "parts", np.float64, (2,)))
        self._matrix, self._prior = np.array(matrix), np.array(prior)


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

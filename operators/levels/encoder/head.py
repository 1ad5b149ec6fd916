"""The head: a softmax regression on embeddings, fitted anew as labels come in. No torch.

Labels are few and embeddings wide, so what matters is the penalty and that the optimum is reached:
a fit costs milliseconds, less than the steps that would come near it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from model_store.errors import TensorMismatch
from operators.levels.port import Probabilities, Tensors, expect
from operators.levels.regression import softmax

FloatArray = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]
_ITERATIONS = 60  # of L-BFGS at the most; a warm start needs about a quarter of them
_TOLERANCE = 1e-4  # of the gradient of the summed loss: a probability's third digit
_BIAS_PENALTY = 1.0  # keeps the bias finite of a label not met yet, and near what was adopted
_SCALE_PRIOR = 20  # examples' worth of belief that all entries of an embedding spread alike
_SMALLEST_SCALE = 1e-6  # of embeddings that are all zero


class Head:
    """Weights (dimension, labels) and bias (labels,), kept as one matrix with the bias last.

    Parameters
    ----------
    l2
        Penalty on the weights of embeddings that are scaled to variance 1, in terms of the logit:
        the inverse of the variance that a label's logit is expected to have. Not on the bias.
    """

    def __init__(self, dimension: int, labels: int, l2: float) -> None:
        self._shape = (dimension + 1, labels)
        self._penalty = l2 * dimension
        self.forget()

    def forget(self) -> None:
        """Know nothing: every label is as probable as the others."""
        self._matrix = np.zeros(self._shape)
        self._prior = np.zeros(self._shape)

    def predict(self, embeddings: FloatArray) -> Probabilities:
        """Label probabilities, shape (rows, labels)."""
        weights, bias = self._published()
        return softmax(embeddings.astype(np.float64) @ weights + bias)

    def fit(
        self,
        embeddings: FloatArray,
        labels: npt.NDArray[np.intp],
        weights: npt.NDArray[np.float64] | None = None,
    ) -> None:
        """Find the weights with the least penalised log loss on these examples.

        An example's weight says for how many it stands; without weights each stands for itself.

        The penalty draws towards what was adopted last, or to knowing nothing: few examples can
        not undo a release that many have made. A label that is not among the examples becomes
        improbable, never impossible. Starting from the present weights saves iterations.
        """
        inputs = embeddings.astype(np.float64)
        centre = inputs.mean(axis=0)
        scale = _scale(inputs)
        share = np.ones(len(labels)) if weights is None else weights
        prior = _to_scaled(self._prior, centre, scale)
        found = minimize(
            _objective,
            _to_scaled(self._matrix, centre, scale).ravel(),
            ((inputs - centre) / scale, labels, share, prior, self._penalty),
            method="L-BFGS-B",
            jac=True,
            options={"maxiter": _ITERATIONS, "gtol": _TOLERANCE},
        )
        self._matrix = found.x.reshape(self._shape)
        self._matrix[:-1] /= scale[:, None]
        self._matrix[-1] -= centre @ self._matrix[:-1]

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

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Weights, and what the penalty draws towards."""
        return {"matrix": self._matrix.copy(), "prior": self._prior.copy()}

    def restore(self, snapshot: Tensors) -> None:
        """Become the head that `snapshot` describes.

        Raises
        ------
        model_store.errors.TensorMismatch
            If that one has other embeddings or labels; the head stays what it was.
        """
        matrix, prior = (expect(snapshot, n, np.float64, self._shape) for n in ("matrix", "prior"))
        self._matrix, self._prior = np.array(matrix), np.array(prior)


def _scale(inputs: Matrix) -> Matrix:
    """Spread of each entry; of few examples it is known so badly that their size has to do."""
    size, count = float((inputs**2).mean()), len(inputs)
    variance = (count * inputs.var(axis=0) + _SCALE_PRIOR * size) / (count + _SCALE_PRIOR)
    return np.asarray(np.maximum(np.sqrt(variance), _SMALLEST_SCALE))


def _to_scaled(matrix: Matrix, centre: Matrix, scale: Matrix) -> Matrix:
    """The same head for embeddings from which `centre` was taken and which `scale` has divided."""
    weights, bias = matrix[:-1], matrix[-1]
    return np.vstack([weights * scale[:, None], bias + centre @ weights])


def _objective(
    flat: Matrix,
    inputs: Matrix,
    labels: npt.NDArray[np.intp],
    share: Matrix,
    prior: Matrix,
    penalty: float,
) -> tuple[float, Matrix]:
    """Penalised log loss, summed over the examples, and its gradient."""
    matrix = flat.reshape(inputs.shape[1] + 1, -1)
    logits = inputs @ matrix[:-1] + matrix[-1]
    logits -= logits.max(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    error = np.exp(logits)
    total = error.sum(axis=1, keepdims=True)
    loss = float(share @ (np.log(total[:, 0]) - logits[rows, labels]))
    error /= total
    error[rows, labels] -= 1
    error *= share[:, None]
    away = matrix - prior
    loss += 0.5 * penalty * float((away[:-1] ** 2).sum())
    loss += 0.5 * _BIAS_PENALTY * float((away[-1] ** 2).sum())
    by_weights = inputs.T @ error + penalty * away[:-1]
    by_bias = error.sum(axis=0) + _BIAS_PENALTY * away[-1]
    return loss, np.vstack([by_weights, by_bias]).ravel()


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

"""The optimum of a penalised softmax regression on embeddings, by L-BFGS."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Matrix = npt.NDArray[np.float64]
"""Weights (dimension, labels) with the bias as the last row, or other float64 numbers."""
Labels = npt.NDArray[np.intp]
_ITERATIONS = 60  # of L-BFGS at the most; a warm start needs about a quarter of them
_TOLERANCE = 1e-4  # of the gradient of the summed loss: a probability's third digit
_BIAS_PENALTY = 1.0  # keeps the bias finite of a label not met yet, and near what was adopted
_SCALE_PRIOR = 20  # examples' worth of belief that all entries of an embedding spread alike
_SMALLEST_SCALE = 1e-6  # of embeddings that are all zero


def optimum(
    inputs: Matrix,
    labels: Labels,
    share: Matrix,
    *,
    prior: Matrix,
    start: Matrix,
    penalty: float,
    entries: Matrix,
) -> Matrix:
    """Find the matrix with the least penalised log loss.

    Parameters
    ----------
    inputs
        Embeddings, shape (examples, dimension).
    share
        For how many examples each one stands.
    prior, start
        What the penalty draws towards, and where the search begins.
    penalty
        On the square of each weight of embeddings that are scaled to variance 1.
    entries
        How much each entry of an embedding counts: it is scaled to a variance of that, squared.
    """
    centre, scale = inputs.mean(axis=0), _spread(inputs) / entries
    found = minimize(
        _objective,
        _to_scaled(start, centre, scale).ravel(),
        ((inputs - centre) / scale, labels, share, _to_scaled(prior, centre, scale), penalty),
        method="L-BFGS-B",
        jac=True,
        options={"maxiter": _ITERATIONS, "gtol": _TOLERANCE},
    )
    matrix: Matrix = found.x.reshape(start.shape)
    matrix[:-1] /= scale[:, None]
    matrix[-1] -= centre @ matrix[:-1]
    return matrix


def log_losses(matrix: Matrix, inputs: Matrix, labels: Labels, share: Matrix) -> Matrix:
    """Log loss of each of these examples, times its share."""
    return _losses(inputs @ matrix[:-1] + matrix[-1], labels, share)[0]


def _spread(inputs: Matrix) -> Matrix:
    """Of each entry; of few examples it is known so badly that their size has to do."""
    size, count = float((inputs**2).mean()), len(inputs)
    variance = (count * inputs.var(axis=0) + _SCALE_PRIOR * size) / (count + _SCALE_PRIOR)
    return np.asarray(np.maximum(np.sqrt(variance), _SMALLEST_SCALE))


def _to_scaled(matrix: Matrix, centre: Matrix, scale: Matrix) -> Matrix:
    """The same head for embeddings from which `centre` was taken and which `scale` has divided."""
    weights, bias = matrix[:-1], matrix[-1]
    return np.vstack([weights * scale[:, None], bias + centre @ weights])


def _objective(
    flat: Matrix, inputs: Matrix, labels: Labels, share: Matrix, prior: Matrix, penalty: float
) -> tuple[float, Matrix]:
    """Penalised log loss, summed over the examples, and its gradient."""
    matrix = flat.reshape(inputs.shape[1] + 1, -1)
    losses, error = _losses(inputs @ matrix[:-1] + matrix[-1], labels, share)
    away = matrix - prior
    loss = float(losses.sum())
    loss += 0.5 * penalty * float((away[:-1] ** 2).sum())
    loss += 0.5 * _BIAS_PENALTY * float((away[-1] ** 2).sum())
    by_weights = inputs.T @ error + penalty * away[:-1]
    by_bias = error.sum(axis=0) + _BIAS_PENALTY * away[-1]
    return loss, np.vstack([by_weights, by_bias]).ravel()


def _losses(logits: Matrix, labels: Labels, share: Matrix) -> tuple[Matrix, Matrix]:
    """Log loss of each example, and its gradient by the logits; these are overwritten."""
    logits -= logits.max(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    error = np.exp(logits)
    total = error.sum(axis=1, keepdims=True)
    losses = share * (np.log(total[:, 0]) - logits[rows, labels])
    error /= total
    error[rows, labels] -= 1
    error *= share[:, None]
    return losses, error

"""The paper's deferral function f: label probabilities -> MLP -> probability of deferral.

Section 3, "Confidence Calibration": |Y| -> 128 -> 1 with a sigmoid, trained online.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from operators.levels.port import Tensors, expect

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8  # Adam's published defaults
FloatArray = npt.NDArray[np.float64]


class DeferralMLP:
    """f(p) = sigmoid(v . relu(W p + b) + c), with its gradient and its optimizer.

    Parameters
    ----------
    labels
        Number of labels, the width of the input.
    hidden
        Width of the hidden layer.
    rate
        Learning rate.
    weight_decay
        Factor of the squared norm that is added to the loss.
    optimizer
        ``adam``, or ``ogd`` with a step of rate / sqrt(t).
    random
        Draws the first weights, uniform as in torch's Linear.
    """

    def __init__(
        self,
        labels: int,
        hidden: int,
        rate: float,
        weight_decay: float,
        optimizer: str,
        random: np.random.Generator,
    ) -> None:
        self._labels, self._hidden = labels, hidden
        self._rate, self._decay, self._optimizer = rate, weight_decay, optimizer
        inner, outer = labels**-0.5, hidden**-0.5
        self._parameters = np.concatenate(
            [
                random.uniform(-inner, inner, hidden * labels + hidden),
                random.uniform(-outer, outer, hidden + 1),
            ]
        )
        self._moments = np.zeros((2, len(self._parameters)))
        self._steps = 0

    def __call__(self, probabilities: FloatArray) -> FloatArray:
        """Deferral probability of each row of a (rows, labels) array, shape (rows,)."""
        return forward(self._parameters, self._labels, self._hidden, probabilities)[0]

    def step(self, probabilities: FloatArray, slope: float) -> None:
        """Descend on a loss whose derivative by f is `slope`, at one input of shape (labels,)."""
        (value,), active = forward(
            self._parameters, self._labels, self._hidden, probabilities[None]
        )
        outer = unpack(self._parameters, self._labels, self._hidden)[2]
        at_output = slope * value * (1 - value)
        at_hidden = at_output * outer * (active[0] > 0)
        gradient = np.concatenate(
            [
                np.outer(at_hidden, probabilities).ravel(),
                at_hidden,
                at_output * active[0],
                [at_output],
            ]
        )
        gradient += 2 * self._decay * self._parameters
        self._steps += 1
        if self._optimizer == "ogd":
            self._parameters = self._parameters - self._rate / self._steps**0.5 * gradient
            return
        first, second = self._moments
        first += (1 - _BETA1) * (gradient - first)
        second += (1 - _BETA2) * (gradient**2 - second)
        ahead = first / (1 - _BETA1**self._steps)
        scale = np.sqrt(second / (1 - _BETA2**self._steps)) + _EPSILON
        self._parameters = self._parameters - self._rate * ahead / scale

    def published(self) -> npt.NDArray[np.float32]:
        """Parameters as one float32 vector: W by rows, b, v, c."""
        return self._parameters.astype(np.float32)

    def adopt(self, parameters: npt.NDArray[Any]) -> None:
        """Go on from published parameters, with a fresh optimizer."""
        self._parameters = parameters.astype(np.float64)
        self._moments[:] = 0
        self._steps = 0

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Parameters, optimizer and step count."""
        return {
            "parameters": self._parameters.copy(),
            "moments": self._moments.copy(),
            "steps": np.array([self._steps], np.int64),
        }

    def restore(self, snapshot: Tensors) -> None:
        """Become what `snapshot` described."""
        self._parameters = np.array(snapshot["parameters"])
        self._moments = np.array(snapshot["moments"])
        self._steps = int(snapshot["steps"][0])


def size(labels: int, hidden: int) -> int:
    """Number of parameters."""
    return hidden * labels + 2 * hidden + 1


def unpack(
    parameters: FloatArray, labels: int, hidden: int
) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """View the parameter vector as W (hidden, labels), b (hidden,), v (hidden,), c."""
    inner, rest = parameters[: hidden * labels], parameters[hidden * labels :]
    return inner.reshape(hidden, labels), rest[:hidden], rest[hidden:-1], float(rest[-1])


def forward(
    parameters: FloatArray, labels: int, hidden: int, probabilities: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Deferral probabilities (rows,) and hidden activations (rows, hidden)."""
    inner, bias, outer, offset = unpack(parameters, labels, hidden)
    active = np.maximum(probabilities @ inner.T + bias, 0)
    return 1 / (1 + np.exp(-(active @ outer + offset))), active


def published_parameters(tensors: Tensors, name: str, labels: int, hidden: int) -> FloatArray:
    """Pick a published parameter vector out of a release.

    Raises
    ------
    model_store.errors.TensorMismatch
        If it is missing or was made for other labels or another width.
    """
    return expect(tensors, name, np.float32, (size(labels, hidden),)).astype(np.float64)

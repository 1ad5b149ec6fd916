"""The serving half of the encoder level: a release changes what is bound, never the session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from operators.levels.encoder.session import HEAD_BIAS, HEAD_WEIGHTS, Encoder, Weights
from operators.levels.encoder.weights import check
from operators.levels.port import Probabilities, Tensors


@dataclass(frozen=True)
class _Staged:
    weights: Weights


class EncoderLevel:
    """Serves an encoder level from a release.

    Parameters
    ----------
    name
        Of the level.
    labels
        Number of labels.
    """

    def __init__(self, name: str, encoder: Encoder, labels: int) -> None:
        self._name = name
        self._encoder = encoder
        self._labels = labels
        self._served: _Staged | None = None

    @property
    def name(self) -> str:
        """Name of the level; prefixes its tensors in a release."""
        return self._name

    @property
    def on_gpu(self) -> bool:
        """Whether ONNX Runtime really runs on CUDA here."""
        return self._encoder.on_gpu

    def stage(self, tensors: Tensors) -> object:
        """Check a release's tensors and copy them to the device.

        Raises
        ------
        model_store.errors.TensorMismatch
            If one is missing, unknown, not finite, or of another type or shape.
        """
        head, layers = check(tensors, self._encoder.artifact.meta, self._labels)
        named = {HEAD_WEIGHTS: head["weights"], HEAD_BIAS: head["bias"], **layers}
        return _Staged(self._encoder.bind(named))

    def swap(self, staged: object) -> None:
        """Serve what `stage` returned from now on."""
        assert isinstance(staged, _Staged)
        self._served = staged

    def predict(self, texts: Sequence[str]) -> Probabilities:
        """Label probabilities of each text; uniform before the first `swap`."""
        served = self._served
        if served is None or not texts:
            return np.full((len(texts), self._labels), 1 / self._labels)
        return self._encoder.classify(texts, served.weights, self._labels).astype(np.float64)

"""The tensors of an encoder level in a release, and the check that they are what it expects."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.errors import TensorMismatch
from operators.levels.encoder.artifact import Meta
from operators.levels.encoder.head import check_head, finite
from operators.levels.port import Tensors, expect, prefixed, under

HEAD, LAYERS = "head", "layers"
"""``head/weights``, ``head/bias``, and ``layers/<name>`` for each tensor of the top layers."""


def to_release(head: Tensors, layers: Tensors) -> dict[str, npt.NDArray[Any]]:
    """Name the tensors as they stand in a release."""
    return prefixed(HEAD, head) | prefixed(LAYERS, layers)


def check(
    tensors: Tensors, meta: Meta, labels: int
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
    """Hold published tensors against what the exported graph takes.

    Returns
    -------
    Tensors of the head and of the top layers, without their prefixes.

    Raises
    ------
    TensorMismatch
        If one is missing, unknown, not finite, or of another type or shape.
    """
    weights, bias = check_head(under(HEAD, tensors), meta.dimension, labels)
    layers = under(LAYERS, tensors)
    known = {tensor.name for tensor in meta.trainable}
    for name in layers.keys() - known:
        raise TensorMismatch(f"{LAYERS}/{name}", "this encoder trains no such tensor")
    checked = {
        tensor.name: finite(tensor.name, expect(layers, tensor.name, np.float32, tensor.shape))
        for tensor in meta.trainable
    }
    return {"weights": weights, "bias": bias}, checked

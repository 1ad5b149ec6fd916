"""Runs an exported encoder in ONNX Runtime: one session for good, weights bound at each run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime

from operators.levels.encoder.artifact import Artifact, obtain
from operators.levels.encoder.errors import EncoderUnavailable
from operators.levels.encoder.runtime import check_builds
from operators.levels.encoder.tokens import Tokens, micro_batches, padded
from operators.settings import EncoderSettings

_log = logging.getLogger(__name__)
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_SESSIONS = 8  # kept open; a process has one for each encoder of its cascade
HEAD_WEIGHTS, HEAD_BIAS = "head/weights", "head/bias"

Weights = Mapping[str, Any]
"""OrtValues on the session's device, by input name."""
FloatArray = npt.NDArray[np.float32]


class Encoder:
    """Embeds and classifies texts under weights that are handed over with each call.

    Parameters
    ----------
    artifact
        The exported graph and its tokenizer.

    Raises
    ------
    EncoderUnavailable
        If the settings insist on a device that ONNX Runtime does not run on here.
    """

    def __init__(self, artifact: Artifact, settings: EncoderSettings) -> None:
        self.artifact = artifact
        self.tokens = Tokens(artifact.tokenizer, settings.max_tokens)
        # int8 scales what goes into a matrix by the largest number in the batch: alone, a text's
        # embedding is its own, and one by one costs nothing there.
        self._batch = 1 if settings.precision == "int8" else settings.batch
        self._session = _open(artifact, settings)
        self.provider: str = self._session.get_providers()[0]
        """What ONNX Runtime really runs on, whatever was asked for."""
        _log.info("level %s runs on %s, %s", settings.name, self.provider, settings.precision)

    @property
    def on_gpu(self) -> bool:
        """Whether it does."""
        return self.provider == _CUDA

    @property
    def dimension(self) -> int:
        """Of an embedding."""
        return self.artifact.meta.dimension

    def bind(self, arrays: Mapping[str, npt.NDArray[Any]]) -> Weights:
        """Copy weights to the device."""
        device = "cuda" if self.on_gpu else "cpu"
        copy = onnxruntime.OrtValue.ortvalue_from_numpy
        # On a CPU an OrtValue aliases the array it is made of: what is served must not follow it.
        return {name: copy(np.array(array, order="C"), device, 0) for name, array in arrays.items()}

    def embed(self, texts: Sequence[str], layers: Weights) -> FloatArray:
        """Embeddings, shape (texts, dimension), under these weights of the top layers."""
        head = self.bind(
            {
                HEAD_WEIGHTS: np.zeros((self.dimension, 1), np.float32),
                HEAD_BIAS: np.zeros(1, np.float32),
            }
        )
        return self._run("embedding", texts, {**layers, **head}, self.dimension)

    def classify(self, texts: Sequence[str], weights: Weights, labels: int) -> FloatArray:
        """Label probabilities, shape (texts, labels), under these weights of head and layers."""
        return self._run("probabilities", texts, weights, labels)

    def _run(
        self,
        output: Literal["embedding", "probabilities"],
        texts: Sequence[str],
        weights: Weights,
        columns: int,
    ) -> FloatArray:
        result = np.empty((len(texts), columns), np.float32)
        rows = self.tokens(texts)
        for batch in micro_batches(rows, self._batch):
            ids, mask = padded([rows[row] for row in batch], self.artifact.meta.pad_id)
            binding = self._session.io_binding()
            binding.bind_cpu_input("ids", ids)
            binding.bind_cpu_input("mask", mask)
            for name, value in weights.items():
                binding.bind_ortvalue_input(name, value)
            binding.bind_output(output)
            self._session.run_with_iobinding(binding)
            result[batch] = binding.copy_outputs_to_cpu()[0]
        return result


@lru_cache(maxsize=_SESSIONS)
def open_encoder(settings: EncoderSettings) -> Encoder:
    """The encoder of these settings; a replay's two halves share it, since it holds no weights.

    Raises
    ------
    EncoderUnavailable
        If the base model or the device is not to be had.
    """
    return Encoder(obtain(settings), settings)


def _open(artifact: Artifact, settings: EncoderSettings) -> Any:
    check_builds()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    # Spinning threads would take the cores from the other subtasks between two batches.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    possible = _CUDA in onnxruntime.get_available_providers()
    if settings.device == "cuda" and not possible:
        raise _no_cuda(settings)
    wanted = settings.device != "cpu" and settings.precision != "int8"
    providers = [_CUDA, _CPU] if possible and wanted else [_CPU]
    session = onnxruntime.InferenceSession(str(artifact.graph), options, providers=providers)
    # A provider that is available may still not start: ONNX Runtime falls back without an error.
    if settings.device == "cuda" and session.get_providers()[0] != _CUDA:
        raise _no_cuda(settings)
    if settings.precision == "fp16" and session.get_providers()[0] != _CUDA:
        raise EncoderUnavailable(
            f"Level {settings.name!r} asks for fp16, and ONNX Runtime runs on the CPU here, where "
            "fp16 gains nothing.",
            "set `precision: int8` or `fp32`, or install the `gpu` extra in place of `cpu` on a "
            "machine with CUDA and cuDNN.",
        )
    _check_inputs(session, artifact)
    return session


def _no_cuda(settings: EncoderSettings) -> EncoderUnavailable:
    return EncoderUnavailable(
        f"Level {settings.name!r} asks for CUDA, which ONNX Runtime does not run on here.",
        "install the `gpu` extra in place of `cpu` on a machine with CUDA and cuDNN, or set "
        "`device: auto`.",
    )


def _check_inputs(session: Any, artifact: Artifact) -> None:
    names = {node.name for node in session.get_inputs()}
    expected = {tensor.name for tensor in artifact.meta.trainable}
    if names != expected | {"ids", "mask", HEAD_WEIGHTS, HEAD_BIAS}:
        raise EncoderUnavailable(
            f"The graph in {artifact.folder} has other inputs than its description.",
            "delete that folder; it is made anew from the base model.",
        )

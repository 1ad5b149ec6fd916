"""The serving half of the linear level: ONNX Runtime, with the weights as graph inputs.

The graph is built once; a release changes only what is fed to it, so a swap costs no session, no
memory and no pause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import TensorProto, helper

from operators.levels.features import Hasher, NgramHasher
from operators.levels.linear import check
from operators.levels.port import Probabilities, Tensors
from operators.levels.slots import Slots
from operators.levels.tfidf import tfidf
from operators.settings import LinearSettings

_OPSET, _IR = 17, 8  # ScatterND with reduction=add needs opset 16
onnxruntime.set_default_logger_severity(3)  # errors only: stderr belongs to the application


def build_graph(labels: int) -> bytes:
    """Softmax(bias + sum over a row's entries of weights[slot] x value), entries lying flat.

    Flat entries with their row numbers need no padding, and each row is summed entry by entry in
    the same order whatever else is in the batch: a prediction never depends on its neighbours.

    Inputs: ``slot`` int64 (entries,), ``value`` float32 (entries, 1), ``row`` int64
    (entries, 1), ``start`` float32 (texts, labels) zeros, ``weights`` float32 (slots, labels),
    ``bias`` float32 (labels,). Output: ``probabilities`` float32 (texts, labels).
    """

    def tensor(name: str, kind: int, shape: list[str | int]) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    nodes = [
        helper.make_node("Gather", ["weights", "slot"], ["gathered"]),
        helper.make_node("Mul", ["gathered", "value"], ["terms"]),
        helper.make_node("ScatterND", ["start", "row", "terms"], ["sums"], reduction="add"),
        helper.make_node("Add", ["sums", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    floats, integers = TensorProto.FLOAT, TensorProto.INT64
    graph = helper.make_graph(
        nodes,
        "linear",
        [
            tensor("slot", integers, ["entries"]),
            tensor("value", floats, ["entries", 1]),
            tensor("row", integers, ["entries", 1]),
            tensor("start", floats, ["texts", labels]),
            tensor("weights", floats, ["slots", labels]),
            tensor("bias", floats, [labels]),
        ],
        [tensor("probabilities", floats, ["texts", labels])],
    )
    opset = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=_IR)
    return bytes(model.SerializeToString())


@dataclass(frozen=True)
class _Weights:
    slots: Slots
    weights: Any  # OrtValue (slots, labels)
    bias: Any  # OrtValue (labels,)
    frequency: npt.NDArray[np.float32]
    documents: float


class LinearLevel:
    """Serves the linear level from a release.

    Parameters
    ----------
    labels
        Number of labels.
    hasher
        Shared with the learning half where both are in one process.
    """

    def __init__(self, settings: LinearSettings, labels: int, hasher: Hasher | None = None) -> None:
        self._settings = settings
        self._labels = labels
        self._hasher = hasher or NgramHasher(settings.features)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # a stream job scales by subtasks, not by threads in one
        self._session = onnxruntime.InferenceSession(
            build_graph(labels), options, providers=["CPUExecutionProvider"]
        )
        self._weights: _Weights | None = None

    @property
    def name(self) -> str:
        """Name of the level; prefixes its tensors in a release."""
        return self._settings.name

    @property
    def on_gpu(self) -> bool:
        """Never: it would be slower there."""
        return False

    def stage(self, tensors: Tensors) -> object:
        """Check a release's tensors, and put before them a row for what was never learned.

        Raises
        ------
        model_store.errors.TensorMismatch
            If a tensor is missing, or its shape, type or range does not fit.
        """
        rows, weights, frequency, bias, documents = check(tensors, self._hasher.size, self._labels)
        slots = Slots(self._hasher.size)
        slots.assign(rows)
        ort = onnxruntime.OrtValue.ortvalue_from_numpy
        return _Weights(
            slots,
            ort(np.concatenate([np.zeros((1, self._labels), np.float32), weights])),
            ort(bias.copy()),
            np.concatenate([np.zeros(1, np.float32), frequency]),
            documents,
        )

    def swap(self, staged: object) -> None:
        """Serve what `stage` returned from now on."""
        assert isinstance(staged, _Weights)
        self._weights = staged

    def predict(self, texts: Sequence[str]) -> Probabilities:
        """Label probabilities of each text; uniform before the first `swap`."""
        served = self._weights
        if served is None or not texts:
            return np.full((len(texts), self._labels), 1 / self._labels)
        counts = self._hasher(texts)
        counts = replace(counts, indices=served.slots.find(counts.indices))
        values = tfidf(counts, served.frequency, served.documents)
        ort = onnxruntime.OrtValue.ortvalue_from_numpy
        (probabilities,) = self._session.run_with_ort_values(
            ["probabilities"],
            {
                "slot": ort(counts.indices),
                "value": ort(values[:, None]),
                "row": ort(counts.rows[:, None]),
                "start": ort(np.zeros((len(texts), self._labels), np.float32)),
                "weights": served.weights,
                "bias": served.bias,
            },
        )
        return np.asarray(probabilities.numpy(), np.float64)

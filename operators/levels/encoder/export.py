"""Exports a base model to ONNX, its head and top layers as inputs. Needs torch; run once a model.

Inputs: ``ids`` and ``mask`` int64 (texts, tokens); ``head/weights`` float32 (dimension, labels),
``head/bias`` float32 (labels,); each tensor of the top layers under its own name. Outputs:
``embedding`` float32 (texts, dimension), of length `pooled.SCALE`, and ``probabilities`` float32
(texts, labels).
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from safetensors import numpy as safetensors

from operators.levels.encoder.artifact import (
    GRAPH,
    TRAINABLE,
    Meta,
    TrainableTensor,
    write_meta,
)
from operators.levels.encoder.errors import EncoderUnavailable
from operators.levels.encoder.pooled import Pooled, load, top_parameters
from operators.levels.encoder.source import TOKENIZER, digest_of
from operators.settings import Pooling, TopLayers

OPSET = 17
_LONGEST = 512  # tokens, for models that could read more: time grows with the square
_LABELS = 2  # of the traced example; any number at run time


class _Classifier(torch.nn.Module):
    def __init__(self, pooled: Pooled) -> None:
        super().__init__()
        self.pooled = pooled

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, weights: torch.Tensor, bias: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        embedding = self.pooled(ids, mask)
        return embedding, torch.softmax(embedding @ weights + bias, dim=-1)


def export(source: Path, target: Path, top_layers: TopLayers, pooling: Pooling) -> None:
    """Write graph, tokenizer, trainable tensors and description into an empty folder."""
    pooled = load(source, pooling)
    top = top_parameters(pooled, top_layers)
    graph = target / GRAPH
    config: Any = pooled.base.config
    try:
        dimension = _trace(pooled, graph, config.vocab_size)
    except torch.onnx.OnnxExporterError as error:
        raise EncoderUnavailable(
            f"The {config.model_type} model in {source} can not be exported: {error}.",
            "use another architecture, such as BERT, RoBERTa, DistilBERT or MPNet.",
        ) from error
    model = onnx.load(graph)
    values = {name: parameter.detach().numpy() for name, parameter in top.items()}
    trainable = turn_into_inputs(model, values)
    onnx.checker.check_model(model)
    onnx.save(model, graph)
    safetensors.save_file(
        {
            tensor.name: np.ascontiguousarray(
                values[tensor.name].T if tensor.transposed else values[tensor.name]
            )
            for tensor in trainable
        },
        target / TRAINABLE,
    )
    shutil.copyfile(source / TOKENIZER, target / TOKENIZER)
    write_meta(
        target,
        Meta(
            dimension=dimension,
            pad_id=config.pad_token_id or 0,
            max_tokens=_most_tokens(pooled.base),
            trainable=trainable,
            sha256=digest_of(graph),
        ),
    )


def _most_tokens(base: Any) -> int:
    """Tokens that the model has positions for; some begin to count behind the padding's number."""
    most = min(getattr(base.config, "max_position_embeddings", _LONGEST), _LONGEST)
    for name, module in base.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            skipped = 0 if module.padding_idx is None else module.padding_idx + 1
            most = min(most, module.num_embeddings - skipped)
    return int(most)


def _trace(pooled: Pooled, path: Path, vocabulary: int) -> int:
    """Write the graph; return the dimension of an embedding."""
    ids = torch.arange(16).reshape(2, 8) % vocabulary
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    try:
        dimension = pooled(ids, mask).shape[1]
    except (RuntimeError, TypeError) as error:  # no inner states, or of another length
        raise EncoderUnavailable(
            f"The layers of this encoder can not be read side by side: {error}.",
            "set `pooling: last`.",
        ) from error
    head = torch.zeros(dimension, _LABELS), torch.zeros(_LABELS)
    names = ["ids", "mask", "head/weights", "head/bias"]
    with warnings.catch_warnings():
        # The tracer warns of Python branches in transformers, and of itself being the old one:
        # the tests hold its graph against torch, at other lengths and batch sizes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Classifier(pooled),
            (ids, mask, *head),
            str(path),
            input_names=names,
            output_names=["embedding", "probabilities"],
            dynamic_axes={
                "ids": {0: "texts", 1: "tokens"},
                "mask": {0: "texts", 1: "tokens"},
                "head/weights": {1: "labels"},
                "head/bias": {0: "labels"},
                "embedding": {0: "texts"},
                "probabilities": {0: "texts", 1: "labels"},
            },
            opset_version=OPSET,
            dynamo=False,
        )
    return int(dimension)


def turn_into_inputs(
    model: onnx.ModelProto, values: Mapping[str, npt.NDArray[Any]]
) -> tuple[TrainableTensor, ...]:
    """Make graph inputs of the initializers that hold these parameters, in place.

    The exporter folds the weights of linear layers transposed, under names of its own: they are
    found by value.

    Raises
    ------
    EncoderUnavailable
        If a parameter is not found exactly once.
    """
    graph = model.graph
    matrices = {
        initializer.name: numpy_helper.to_array(initializer)
        for initializer in graph.initializer
        if len(initializer.dims) == 2  # only matrices are folded transposed
    }
    found: dict[str, TrainableTensor] = {}
    plain = {initializer.name: tuple(initializer.dims) for initializer in graph.initializer}
    for name, value in values.items():
        own = [n for n in plain if n.endswith(f".{name}") and plain[n] == value.shape]
        turned = [n for n, array in matrices.items() if _same(array, value.T)] if not own else []
        if len(own) + len(turned) != 1 or (own + turned)[0] in found:
            raise EncoderUnavailable(
                f"Parameter {name!r} stands {len(own) + len(turned)} times in the exported graph.",
                "set `top_layers` to fewer layers, or 0, with this architecture.",
            )
        shape = value.shape[::-1] if turned else value.shape
        found[(own + turned)[0]] = TrainableTensor(name, tuple(shape), bool(turned))
    kept = [i for i in graph.initializer if i.name not in found]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name in found:
                node.input[position] = found[name].name
    for tensor in found.values():
        graph.input.append(
            onnx.helper.make_tensor_value_info(
                tensor.name, onnx.TensorProto.FLOAT, list(tensor.shape)
            )
        )
    return tuple(sorted(found.values(), key=lambda tensor: tensor.name))


def _same(array: npt.NDArray[Any], value: npt.NDArray[Any]) -> bool:
    return array.shape == value.shape and np.array_equal(array, value)

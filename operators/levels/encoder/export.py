"""Exports a base model to ONNX, its head and top layers as inputs. Needs torch; run once a model.

Inputs: ``ids`` and ``mask`` int64 (texts, tokens); ``head/weights`` float32 (dimension, labels),
``head/bias`` float32 (labels,); each tensor of the top layers under its own name. Outputs:
``embedding`` float32 (texts, dimension), of length `SCALE`, and ``probabilities`` float32
(texts, labels).
"""

from __future__ import annotations

import math
import re
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
import transformers
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
from operators.levels.encoder.source import TOKENIZER, digest_of
from operators.settings import Pooling, TopLayers

OPSET = 17
SCALE = 8.0  # an embedding of length 1 would have a linear head learn slowly at usual rates
_INNER = 2 / 3  # of the layers lie below the one that is read beside the last
_LONGEST = 512  # tokens, for models that could read more: time grows with the square
_UNUSED = re.compile(
    r"(?:^|\.)pooler\."
)  # weights that a base model may lack: means are taken here
_LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")
_LABELS = 2  # of the traced example; any number at run time


class Pooled(torch.nn.Module):
    """Means of hidden states where the mask is 1, side by side, scaled to a fixed length.

    Of the last layer, or of one two thirds of the way up and the last: what a model was trained
    for at the end is in its last layers, and at the cost of other things that layers below still
    know of a text (Skean et al. 2025, "Layer by Layer: Uncovering Hidden Representations in
    Language Models").
    """

    def __init__(self, base: torch.nn.Module, pooling: Pooling) -> None:
        super().__init__()
        self.base = base
        self._pooling = pooling

    @property
    def dimension(self) -> int:
        """Of an embedding."""
        config: Any = self.base.config
        return int(config.hidden_size) * (2 if self._pooling == "inner_and_last" else 1)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Embeddings, shape (texts, dimension)."""
        said = self.base(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        last, each = said.last_hidden_state, said.hidden_states  # the words' own come first
        inner = each[round((len(each) - 1) * _INNER)]
        read = [last] if self._pooling == "last" else [inner, last]
        counted = mask.unsqueeze(-1).to(last.dtype)
        means = [(hidden * counted).sum(1) / counted.sum(1) for hidden in read]
        parts = [torch.nn.functional.normalize(mean, dim=1) for mean in means]
        return SCALE / math.sqrt(len(parts)) * torch.cat(parts, dim=1)


class _Classifier(torch.nn.Module):
    def __init__(self, pooled: Pooled) -> None:
        super().__init__()
        self.pooled = pooled

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, weights: torch.Tensor, bias: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        embedding = self.pooled(ids, mask)
        return embedding, torch.softmax(embedding @ weights + bias, dim=-1)


def load(source: Path, pooling: Pooling) -> Pooled:
    """The base model in evaluation mode, in a form that can be traced.

    Of a model for sequence classification, or another task, that is what is under its head.

    Raises
    ------
    EncoderUnavailable
        If the folder holds no encoder that transformers knows, or not all of its weights.
    """
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # not typed there
    # stderr belongs to the application; what matters of its report is looked at below.
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # as above
    try:
        base, loaded = transformers.AutoModel.from_pretrained(
            source,
            local_files_only=True,
            use_safetensors=True,
            attn_implementation="eager",
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError) as error:
        raise EncoderUnavailable(
            f"{source} holds no encoder that can be loaded: {error}.",
            "name a model of an architecture that transformers knows, such as BERT or MPNet.",
        ) from error
    missing = sorted(name for name in loaded["missing_keys"] if not _UNUSED.search(name))
    if missing:
        raise EncoderUnavailable(
            f"The weights in {source} lack {len(missing)} that its config.json asks for: "
            f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}.",
            "download the model again, weights and config of one revision.",
        )
    return Pooled(base.eval().float(), pooling)


def top_parameters(pooled: Pooled, layers: TopLayers) -> dict[str, torch.nn.Parameter]:
    """Parameters of the top transformer layers, or of all, by their names in the base model.

    Raises
    ------
    EncoderUnavailable
        If the model has fewer layers.
    """
    if layers == "all":
        return {
            name: parameter
            for name, parameter in pooled.base.named_parameters()
            if not _UNUSED.search(name)
        }
    numbered = [
        (int(found[1]), name, parameter)
        for name, parameter in pooled.base.named_parameters()
        if (found := _LAYER.search(name))
    ]
    depth = 1 + max((number for number, _, _ in numbered), default=-1)
    if layers > depth:
        raise EncoderUnavailable(
            f"The encoder has {depth} transformer layers that can be told apart, not {layers}.",
            f"set `top_layers` to {depth} or less.",
        )
    return {name: parameter for number, name, parameter in numbered if number >= depth - layers}


def export(source: Path, target: Path, top_layers: TopLayers, pooling: Pooling) -> None:
    """Write graph, tokenizer, trainable tensors and description into an empty folder."""
    pooled = load(source, pooling)
    top = top_parameters(pooled, top_layers)
    graph = target / GRAPH
    config: Any = pooled.base.config
    try:
        _trace(pooled, graph, config.vocab_size)
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
            dimension=pooled.dimension,
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


def _trace(pooled: Pooled, path: Path, vocabulary: int) -> None:
    ids = torch.arange(16).reshape(2, 8) % vocabulary
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    head = torch.zeros(pooled.dimension, _LABELS), torch.zeros(_LABELS)
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

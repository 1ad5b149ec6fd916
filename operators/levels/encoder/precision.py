"""Turns an exported graph into one of lower precision. Needs no torch.

What a release carries stays float32 in the graph's inputs and outputs, whatever the precision: the
same releases fit all of them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import msgspec
import onnx

from operators.levels.encoder.artifact import GRAPH, TRAINABLE, Artifact, write_meta
from operators.levels.encoder.source import TOKENIZER, digest_of

Reduced = Literal["fp16", "int8"]
_BASE_MODEL = "/pooled/base/"  # how the exporter names the nodes of the base model


def reduce(artifact: Artifact, precision: Reduced, target: Path) -> None:
    """Write a graph of this precision, and all that stands beside it, into an empty folder."""
    model = onnx.load(artifact.graph)
    graph = target / GRAPH
    if precision == "int8":
        _quantize(model, graph)
    else:
        _halve(model, graph)
    for name in (TOKENIZER, TRAINABLE):
        shutil.copyfile(artifact.folder / name, target / name)
    write_meta(target, msgspec.structs.replace(artifact.meta, sha256=digest_of(graph)))


def _quantize(model: onnx.ModelProto, path: Path) -> None:
    """Frozen matrices to int8, a scale for each column; activations are scaled as they come.

    Matrices that are inputs of the graph, those of the head and of the trainable layers, are left
    as they are, and so are the embeddings of the tokens: to look them up costs nothing.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    add_pre_process_metadata(model)  # else it warns: the preparations are for other kinds of models
    quantize_dynamic(
        model,
        path,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        # Seven bits: without VNNI the sums of two products of eight are cut off at 16 bits.
        reduce_range=True,
    )


def _halve(model: onnx.ModelProto, path: Path) -> None:
    """The base model to float16; the pooling adds up hundreds of numbers, and stays float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    kept = [node.name for node in model.graph.node if not node.name.startswith(_BASE_MODEL)]
    halved = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept)
    graph = halved.graph
    # A tensor that two kept nodes read is cast twice under one name by some versions, and the
    # casts stand behind what reads them.
    once = {tuple(node.output): node for node in graph.node}
    del graph.node[:]
    graph.node.extend(once.values())
    OnnxModel(halved).topological_sort()
    onnx.checker.check_model(halved)
    onnx.save(halved, path)

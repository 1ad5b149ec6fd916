"""Graphs of lower precision: what is reduced and what is not, and where each runs."""

from __future__ import annotations

import importlib.metadata
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from pydantic import ValidationError

from operators.assembly import prepare_levels
from operators.levels.encoder.artifact import GRAPH, Artifact, obtain
from operators.levels.encoder.errors import EncoderUnavailable
from operators.levels.encoder.session import Encoder, open_encoder
from operators.levels.encoder.tokens import Tokens, padded
from operators.settings import EncoderSettings
from tests.operators.levels.checks import TEXTS
from tests.operators.levels.encoder import tiny
from tests.operators.test_assembly import written as job_of

Written = Callable[..., EncoderSettings]
REDUCED = ("int8", "fp16")


def auto(written: Written, precision: str, **changes: Any) -> EncoderSettings:
    return written(precision=precision, **changes)


def cosines(one: Any, other: Any) -> Any:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(axis=1) / lengths


def on_cpu(artifact: Artifact) -> Any:
    """Embeddings by a session of its own, which no setting forbids."""
    ids, mask = padded(Tokens(artifact.tokenizer, 32)(TEXTS), artifact.meta.pad_id)
    head = {"head/weights": np.zeros((64, 1), np.float32), "head/bias": np.zeros(1, np.float32)}
    session = onnxruntime.InferenceSession(str(artifact.graph), providers=["CPUExecutionProvider"])
    return session.run(["embedding"], {"ids": ids, "mask": mask} | head | artifact.trainable())[0]


@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.parametrize("layers", [0, 1])
def test_what_a_release_carries_stays_float32(
    precision: str, layers: int, written: Written
) -> None:
    plain = obtain(written(top_layers=layers))
    reduced = obtain(auto(written, precision, top_layers=layers))
    assert reduced.meta.trainable == plain.meta.trainable
    assert reduced.trainable().keys() == plain.trainable().keys()
    model = onnx.load(reduced.graph)
    onnx.checker.check_model(model)
    graph = model.graph
    assert len({node.name for node in graph.node}) == len(graph.node)
    kinds = {node.name: node.type.tensor_type.elem_type for node in (*graph.input, *graph.output)}
    assert kinds.pop("ids") == kinds.pop("mask") == TensorProto.INT64
    assert set(kinds.values()) == {TensorProto.FLOAT}
    assert {tensor.name for tensor in plain.meta.trainable} < set(kinds)


def test_int8_reduces_the_frozen_matrices_alone(written: Written) -> None:
    def counted(layers: int) -> Counter[str]:
        artifact = obtain(auto(written, "int8", top_layers=layers))
        return Counter(node.op_type for node in onnx.load(artifact.graph).graph.node)

    both, bottom, none = (counted(layers)["MatMulInteger"] for layers in (0, 1, 2))
    assert (both, bottom, none) == (12, 6, 0)  # four of attention, two of the rest, in each layer


@pytest.mark.parametrize(("precision", "least"), [("int8", 0.99), ("fp16", 0.9999)])
@pytest.mark.parametrize("kind", [kind for kind in tiny.SHAPES if kind not in tiny.REFUSED])
def test_what_it_says_stays_close(
    precision: str, least: float, kind: str, tmp_path: Path, cache: Path
) -> None:
    model = tiny.make(tmp_path, kind)
    plain, reduced = (
        on_cpu(obtain(tiny.written(model, cache, precision=chosen)))
        for chosen in ("fp32", precision)
    )
    assert cosines(plain, reduced).min() > least
    assert np.abs(plain - reduced).max() > 0


def test_an_int8_embedding_is_its_texts_own(written: Written) -> None:
    """To the bit, though the graph scales its activations over a whole batch."""
    encoder = open_encoder(auto(written, "int8", batch=64))
    together = encoder.embed(TEXTS, {})
    alone = np.vstack([encoder.embed([text], {}) for text in TEXTS])
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("precision", REDUCED)
def test_a_graph_is_made_once_for_each_precision(
    precision: str, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = obtain(auto(written, precision))
    assert first.folder != obtain(written()).folder
    monkeypatch.setattr("operators.levels.encoder.precision.reduce", None)  # to call it would fail
    assert obtain(auto(written, precision)) == first
    (first.folder / GRAPH).rename(first.folder / "away")
    with pytest.raises(EncoderUnavailable, match=r"is damaged.*Operator action: delete"):
        obtain(auto(written, precision))
    (first.folder / "away").rename(first.folder / GRAPH)


@pytest.mark.parametrize(("precision", "device"), [("int8", "cuda"), ("fp16", "cpu")])
def test_a_precision_that_does_not_pay_on_a_device(
    precision: str, device: str, written: Written
) -> None:
    with pytest.raises(ValidationError, match=f"{precision} does not pay on {device}: fp16 is for"):
        written(precision=precision, device=device)


def test_fp16_without_cuda_is_an_error(written: Written) -> None:
    with pytest.raises(EncoderUnavailable, match=r"asks for fp16.*Operator action.*int8"):
        open_encoder(auto(written, "fp16"))


def test_which_providers_are_asked_for(
    written: Written, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a machine that seems to have CUDA."""
    plain, asked = onnxruntime.InferenceSession, []

    def session(path: str, options: Any, providers: list[str]) -> Any:
        asked.append(providers[0].removesuffix("ExecutionProvider"))
        made = plain(path, options, providers=["CPUExecutionProvider"])
        monkeypatch.setattr(made, "get_providers", lambda: providers)
        return made

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(
        onnxruntime,
        "get_available_providers",
        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    caplog.set_level(logging.INFO)
    cases = [
        ({}, "CUDA"),
        ({"device": "cuda"}, "CUDA"),
        ({"device": "cpu"}, "CPU"),
        ({"precision": "fp16"}, "CUDA"),
        ({"precision": "int8"}, "CPU"),
    ]
    for changes, provider in cases:
        chosen = written(**changes)
        encoder = Encoder(obtain(chosen), chosen)
        assert encoder.on_gpu == (provider == "CUDA")
    assert asked == [provider for _, provider in cases]
    said = [record.message for record in caplog.records if "runs on" in record.message]
    assert said[-2:] == [
        "level encoder runs on CUDAExecutionProvider, fp16",
        "level encoder runs on CPUExecutionProvider, int8",
    ]


def test_two_builds_of_onnx_runtime_are_refused(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    def distribution(name: str) -> None:
        assert name in {"onnxruntime", "onnxruntime-gpu"}

    monkeypatch.setattr("operators.levels.encoder.runtime.distribution", distribution)
    chosen = written()
    job = job_of(levels=[{}, chosen.model_dump()], budget={"share": 0.1})
    for make in (lambda: prepare_levels(job), lambda: Encoder(obtain(chosen), chosen)):
        with pytest.raises(EncoderUnavailable, match=r"both installed.*uninstall both.*`cpu`"):
            make()


def test_one_build_is_installed_here() -> None:
    names = {dist.metadata["Name"] for dist in importlib.metadata.distributions()}
    assert len(names & {"onnxruntime", "onnxruntime-gpu"}) == 1

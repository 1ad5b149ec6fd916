"""The exported graph, against torch, on random weights, for each architecture."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors import numpy as safetensors
from transformers import AutoModel, AutoModelForSequenceClassification

from operators.levels.encoder.artifact import GRAPH, META, obtain
from operators.levels.encoder.errors import EncoderUnavailable
from operators.levels.encoder.pooled import SCALE, load, top_parameters
from operators.levels.encoder.session import open_encoder
from operators.levels.encoder.tokens import padded
from operators.settings import EncoderSettings, TopLayers
from tests.operators.levels.encoder import tiny

Written = Callable[..., EncoderSettings]
TEXTS = ["good", "the quick brown fox, sad", "", "nice " * 60]


CASES = [
    *((kind, layers, False) for kind in ("bert", "mpnet") for layers in (0, 1, 2)),
    *((kind, 1, False) for kind in ("roberta", "xlm-roberta", "distilbert", "electra")),
    *((kind, 1, False) for kind in ("deberta-v2", "modernbert")),
    *((kind, "all", False) for kind in ("bert", "mpnet", "roberta", "xlm-roberta")),
    *((kind, "all", False) for kind in ("distilbert", "electra", "deberta-v2", "modernbert")),
    ("albert", 0, False),  # its layers are one layer, many times
    *((kind, 1, True) for kind in ("bert", "mpnet", "roberta", "distilbert", "deberta-v2")),
]


@pytest.mark.parametrize(("kind", "layers", "head"), CASES)
def test_torch_and_onnx_agree_on_random_weights(
    kind: str, layers: TopLayers, head: bool, tmp_path: Path, cache: Path
) -> None:
    model = tiny.make(tmp_path, kind, head=head)
    encoder = open_encoder(tiny.written(model, cache, top_layers=layers))
    meta = encoder.artifact.meta
    assert meta.max_tokens == tiny.MAX_TOKENS
    base = load(tmp_path, "inner_and_last")
    top = top_parameters(base, layers)
    assert set(top) == {tensor.name for tensor in meta.trainable}
    random = np.random.default_rng(3)
    new = {t.name: random.normal(size=t.shape).astype(np.float32) * 0.3 for t in meta.trainable}
    with torch.no_grad():
        for tensor in meta.trainable:
            value = new[tensor.name].T if tensor.transposed else new[tensor.name]
            top[tensor.name].copy_(torch.from_numpy(value.copy()))
        ids, mask = padded(encoder.tokens(TEXTS), meta.pad_id)
        expected = base(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    embedded = encoder.embed(TEXTS, encoder.bind(new))
    assert np.abs(embedded - expected).max() < 1e-4
    assert np.linalg.norm(embedded, axis=1) == pytest.approx(np.full(len(TEXTS), SCALE), rel=1e-5)
    if layers:
        untouched = encoder.embed(TEXTS, encoder.bind(encoder.artifact.trainable()))
        assert np.abs(untouched - expected).max() > 0.1


@pytest.mark.parametrize("kind", ["bert", "mpnet", "albert", "modernbert"])
@pytest.mark.parametrize(("depth", "inner_layer"), [(2, 1), (6, 4)])
def test_the_head_reads_the_means_of_an_inner_layer_and_of_the_last(
    kind: str, depth: int, inner_layer: int, tmp_path: Path, cache: Path
) -> None:
    model = tiny.make(tmp_path, kind, num_hidden_layers=depth)
    both, last = (
        open_encoder(tiny.written(model, cache, pooling=pooling)).embed([TEXTS[1]], {})[0]
        for pooling in ("inner_and_last", "last")
    )
    tokens = open_encoder(tiny.written(model, cache)).tokens([TEXTS[1]])
    with torch.no_grad():
        said = AutoModel.from_pretrained(model)(torch.tensor(tokens), output_hidden_states=True)
    means = [
        said.hidden_states[inner_layer][0].mean(0).numpy(),
        said.last_hidden_state[0].mean(0).numpy(),
    ]
    inner, end = (SCALE * mean / np.linalg.norm(mean) for mean in means)
    assert np.abs(last - end).max() < 1e-4
    assert np.abs(both - np.concatenate([inner, end]) / 2**0.5).max() < 1e-4
    assert np.abs(inner - end).max() > 0.1


def test_of_a_classifier_the_model_under_its_head_is_taken(tmp_path: Path, cache: Path) -> None:
    classifier = tiny.make(tmp_path / "classifier", head=True)
    under = AutoModelForSequenceClassification.from_pretrained(classifier).base_model
    under.save_pretrained(tmp_path / "base")
    shutil.copyfile(classifier / "tokenizer.json", tmp_path / "base" / "tokenizer.json")
    own, same = (
        open_encoder(tiny.written(folder, cache)).embed(TEXTS, {})
        for folder in (classifier, tmp_path / "base")
    )
    assert np.array_equal(own, same)


def test_weights_that_are_not_there_are_not_made_up(tmp_path: Path, cache: Path) -> None:
    model = tiny.make(tmp_path)
    weights = safetensors.load_file(model / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "layer.1.output" not in name}
    safetensors.save_file(kept, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderUnavailable, match=r"lack 4 .*layer\.1\.output.*Operator action"):
        obtain(tiny.written(model, cache))


def test_an_architecture_that_can_not_be_exported_is_named(
    tmp_path: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(EncoderUnavailable, match=r"fnet model .* can not be exported.*such as"):
        obtain(tiny.written(tiny.make(tmp_path, "fnet"), cache))


def test_layers_that_can_not_stand_side_by_side_are_named(tmp_path: Path, cache: Path) -> None:
    model = tiny.make(tmp_path, "canine")  # whose inner layers have fewer positions than the last
    with pytest.raises(EncoderUnavailable, match=r"side by side.*set `pooling: last`"):
        obtain(tiny.written(model, cache))
    assert obtain(tiny.written(model, cache, pooling="last")).meta.dimension == 32


def test_frozen_layers_are_not_inputs(written: Written) -> None:
    artifact = obtain(written(top_layers=1))
    model = onnx.load(artifact.graph)
    inputs = {node.name for node in model.graph.input}
    assert {"ids", "mask", "head/weights", "head/bias"} < inputs
    assert all(".layer.1." in name for name in inputs if "layer" in name)
    assert not inputs & {initializer.name for initializer in model.graph.initializer}


def test_all_of_the_encoder_can_be_trained(written: Written) -> None:
    artifact = obtain(written(top_layers="all"))
    names = {tensor.name for tensor in artifact.meta.trainable}
    assert "embeddings.word_embeddings.weight" in names
    assert {name.split(".")[2] for name in names if name.startswith("encoder.layer.")} == {"0", "1"}
    assert not any("pooler" in name for name in names)  # means are taken: it has no part


def test_a_graph_is_exported_once(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    first = obtain(written())
    monkeypatch.setattr("operators.levels.encoder.export.export", None)  # to call it would fail
    assert obtain(written()) == first
    assert obtain(written(top_layers=0, batch=1, l2=0.5)) == first


def test_another_model_other_layers_or_pooling_are_another_graph(
    written: Written, cache: Path, tmp_path: Path
) -> None:
    other = tiny.written(tiny.make(tmp_path, seed=1), cache)
    changed = (written(), written(top_layers=1), written(pooling="last"), other)
    assert len({obtain(s).folder for s in changed}) == len(changed)


def test_nothing_is_left_behind_by_an_export_that_fails(
    model: Path, tmp_path: Path, written: Written
) -> None:
    with pytest.raises(EncoderUnavailable, match=r"2 transformer layers.*Operator action"):
        obtain(written(top_layers=3, cache=tmp_path))
    assert list((tmp_path / "encoders").iterdir()) == []


def test_the_slower_of_two_exports_gives_way(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = obtain(written()).folder

    def overtaken(source: Path, target: Path, *_: object) -> None:
        shutil.copytree(ready, target, dirs_exist_ok=True)
        shutil.copytree(ready, target.parent.parent / ready.name)

    monkeypatch.setattr("operators.levels.encoder.export.export", overtaken)
    assert obtain(written(cache=tmp_path)).folder.parent == tmp_path / "encoders"
    assert [path.name for path in (tmp_path / "encoders").iterdir()] == [ready.name]


@pytest.mark.parametrize(
    ("file", "content"),
    [(GRAPH, b"x"), (META, b"{}"), (META, b"x"), ("trainable.safetensors", b"x")],
)
def test_a_damaged_graph_is_refused(
    file: str, content: bytes, written: Written, tmp_path: Path
) -> None:
    ready = obtain(written(top_layers=1)).folder
    folder = tmp_path / "encoders" / ready.name
    shutil.copytree(ready, folder)
    (folder / file).write_bytes(content)
    with pytest.raises(EncoderUnavailable, match=r"is damaged.*Operator action: delete"):
        obtain(written(top_layers=1, cache=tmp_path))


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_model_that_lacks_a_file_is_refused(
    file: str, model: Path, cache: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    (copy / file).unlink()
    (copy / "pytorch_model.bin").write_bytes(b"a pickle is no substitute")
    with pytest.raises(EncoderUnavailable, match=r"lacks .*Operator action"):
        obtain(tiny.written(copy, cache))


@pytest.mark.parametrize("name", ["no/such-model", "../nowhere", "/nowhere", "a b"])
def test_a_model_that_is_nowhere(name: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderUnavailable, match=r"is no folder here.*Operator action"):
        obtain(tiny.written(Path(name), cache))


def test_no_more_tokens_than_the_model_can_read(written: Written) -> None:
    with pytest.raises(EncoderUnavailable, match=f"at most {tiny.MAX_TOKENS} tokens"):
        obtain(written(max_tokens=tiny.MAX_TOKENS + 1))


def test_without_torch_the_message_says_what_to_install(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "operators.levels.encoder.export", None)
    with pytest.raises(EncoderUnavailable, match=r"flink-online-cascade\[encoder\]"):
        obtain(written(cache=tmp_path))

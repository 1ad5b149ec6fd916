"""Sessions: which device, which rows together, and that serving needs no torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest

from operators.levels.encoder.build import encoder_level
from operators.levels.encoder.errors import EncoderUnavailable
from operators.levels.encoder.session import Encoder, open_encoder
from operators.settings import EncoderSettings
from tests.operators.levels.checks import TEXTS

Written = Callable[..., EncoderSettings]


def test_cuda_without_cuda_is_an_error(written: Written) -> None:
    with pytest.raises(EncoderUnavailable, match=r"asks for CUDA.*Operator action.*`gpu` extra"):
        open_encoder(written(device="cuda"))


def test_a_provider_that_falls_back_silently_is_an_error(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the GPU build of ONNX Runtime does where there is no GPU."""
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    plain = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, options, providers: plain(path, options, providers=providers[-1:]),
    )
    artifact = open_encoder(written()).artifact
    with pytest.raises(EncoderUnavailable, match="asks for CUDA"):
        Encoder(artifact, written(device="cuda"))
    assert Encoder(artifact, written(device="auto")).provider == "CPUExecutionProvider"


def test_the_same_settings_share_a_session(written: Written) -> None:
    assert open_encoder(written()) is open_encoder(written())
    assert open_encoder(written()) is not open_encoder(written(batch=2))


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_batches_do_not_change_what_is_said(batch: int, written: Written) -> None:
    one, other = open_encoder(written()), open_encoder(written(batch=batch))
    assert np.abs(one.embed(TEXTS, {}) - other.embed(TEXTS, {})).max() < 1e-4


def test_weights_are_copied(written: Written) -> None:
    encoder, labels = open_encoder(written()), 3
    weights = np.random.default_rng(0).normal(size=(64, labels)).astype(np.float32)
    arrays = {"head/weights": weights, "head/bias": np.zeros(labels, np.float32)}
    bound = encoder.bind(arrays)
    before = encoder.classify(["good"], bound, labels)
    weights[:] = 0
    assert np.array_equal(encoder.classify(["good"], bound, labels), before)


def test_a_graph_with_other_inputs_is_refused(written: Written) -> None:
    from dataclasses import replace

    artifact = open_encoder(written(top_layers=1)).artifact
    meta = open_encoder(written()).artifact.meta
    with pytest.raises(EncoderUnavailable, match="other inputs"):
        Encoder(replace(artifact, meta=meta), written(top_layers=1))


def test_neither_serving_nor_the_head_imports_torch(written: Written) -> None:
    chosen = written()
    encoder_level(chosen, 3)  # exported now
    program = f"""
import sys
from operators.levels.encoder.build import encoder_learner, encoder_level
from operators.settings import EncoderSettings
chosen = EncoderSettings.model_validate_json({chosen.model_dump_json()!r})
learner = encoder_learner(chosen, 3, 0, None)
learner.learn(["good", "bad"], [0, 1])
level = encoder_level(chosen, 3)
level.swap(level.stage(learner.tensors()))
level.predict(["good"])
assert not {{"torch", "transformers"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603  # a text of ours

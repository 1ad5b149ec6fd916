"""Embeddings that are kept on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.study.embeddings import RememberingEncoder
from operators.settings import EncoderSettings
from tests.operators.levels.encoder import tiny

TEXTS = tiny.WORDS[:5]


@pytest.fixture
def settings(tmp_path: Path) -> EncoderSettings:
    return tiny.written(tiny.make(tmp_path / "base"), tmp_path / "cache")


def test_what_is_remembered_is_what_the_encoder_says(
    settings: EncoderSettings, tmp_path: Path
) -> None:
    plain = tiny.opened(settings)
    layers = plain.bind(plain.artifact.trainable())
    first = RememberingEncoder(settings, tmp_path / "kept", "set")
    first.fill(TEXTS)
    again = RememberingEncoder(settings, tmp_path / "kept", "set")
    again._session = None  # it must not be asked
    assert again.embed(TEXTS[::-1], layers) == pytest.approx(
        plain.embed(TEXTS[::-1], layers), abs=1e-6
    )


def test_new_texts_are_computed_beside_the_remembered(
    settings: EncoderSettings, tmp_path: Path
) -> None:
    encoder = RememberingEncoder(settings, tmp_path / "kept", "set")
    encoder.fill(TEXTS[:2])
    made = encoder.embed(TEXTS, encoder.bind(encoder.artifact.trainable()))
    assert made.shape == (5, encoder.dimension)
    assert np.unique(made.round(4), axis=0).shape[0] == 5


def test_an_encoder_that_is_fine_tuned_can_not_be_remembered(
    settings: EncoderSettings, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="top_layers"):
        RememberingEncoder(settings.model_copy(update={"top_layers": 1}), tmp_path, "set")

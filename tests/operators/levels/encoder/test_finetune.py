"""Fine-tuning with torch: it learns, and the same from the same state and examples."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from operators.levels.encoder.finetune import Tuner
from operators.levels.encoder.session import open_encoder
from operators.levels.encoder.tuning import Batch
from operators.levels.port import Tensors, prefixed, under
from operators.settings import EncoderSettings
from tests.operators.levels.checks import equal, toy_stream

Written = Callable[..., EncoderSettings]
LABELS = 3


@pytest.fixture
def chosen(written: Written) -> EncoderSettings:
    return written(top_layers=1, finetune={"rate": 0.002})


@pytest.fixture
def tuner(chosen: EncoderSettings) -> Callable[[], Tuner]:
    def make() -> Tuner:
        encoder = open_encoder(chosen)
        return Tuner(encoder.artifact, encoder.tokens, chosen, itertools.count().__next__)

    return make


@pytest.fixture
def first(chosen: EncoderSettings) -> Tensors:
    """The base model's layers, with no optimizer yet."""
    return prefixed("layer", open_encoder(chosen).artifact.trainable())


def head(seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    random = np.random.default_rng(seed)
    weights = random.normal(size=(64, LABELS)).astype(np.float32) * 0.2
    return {"weights": weights, "bias": np.zeros(LABELS, np.float32)}


def batches(count: int, seed: int = 0, size: int = 8) -> list[Batch]:
    made = []
    for number in range(count):
        texts, labels = zip(*toy_stream(size, 100 * seed + number), strict=True)
        made.append(Batch(list(range(size)), list(texts), list(labels)))
    return made


def loss(embeddings: npt.NDArray[np.float32], labels: list[int]) -> float:
    logits = torch.from_numpy(embeddings @ head()["weights"])
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(labels)))


def test_steps_lower_the_loss_and_move_every_tensor(
    tuner: Callable[[], Tuner], first: Tensors
) -> None:
    one = batches(1) * 20
    made = tuner().round(first, one, head())
    losses = [loss(e, b.labels) for e, b in zip(made.embeddings, one, strict=True)]
    assert losses[-1] < losses[0] - 0.1
    for name, before in first.items():
        if not name.endswith("self.key.bias"):  # it has no gradient: the softmax takes no notice
            assert np.abs(made.state[name] - before).max() > 0, name


def test_embeddings_are_those_that_the_served_graph_has(
    tuner: Callable[[], Tuner], first: Tensors, chosen: EncoderSettings
) -> None:
    taught = tuner()
    state = taught.round(first, batches(3), head()).state
    (batch,) = batches(1, seed=7)
    encoder = open_encoder(chosen)
    expected = encoder.embed(batch.texts, encoder.bind(under("layer", state)))
    (embeddings,) = taught.round(state, [batch], head()).embeddings
    assert np.abs(embeddings - expected).max() < 1e-4


def test_a_round_is_a_function_of_what_it_is_given(
    tuner: Callable[[], Tuner], first: Tensors
) -> None:
    steady, other = tuner(), tuner()
    middle = steady.round(first, batches(3), head()).state
    frozen = {name: value.copy() for name, value in middle.items()}
    end = steady.round(middle, batches(3, seed=1), head())
    assert equal(dict(middle), frozen)
    other.round(first, batches(2, seed=9), head(1))  # nothing of an earlier life may show
    again = other.round(middle, batches(3, seed=1), head())
    assert equal(dict(again.state), dict(end.state))
    assert all(map(np.array_equal, again.embeddings, end.embeddings))


def test_rounds_may_be_cut_anywhere(tuner: Callable[[], Tuner], first: Tensors) -> None:
    whole, state = tuner().round(first, batches(4), head()).state, first
    for batch in batches(4):
        state = tuner().round(state, [batch], head()).state
    assert equal(dict(state), dict(whole))


def test_steps_that_lead_nowhere_are_dropped(tuner: Callable[[], Tuner], first: Tensors) -> None:
    taught = tuner()
    sound = taught.round(first, batches(2), head())
    astray = {**head(), "bias": np.full(LABELS, np.nan, np.float32)}
    made = taught.round(sound.state, batches(2, seed=1), astray)
    assert made.state is sound.state
    assert not made.embeddings
    after = taught.round(made.state, batches(2, seed=2), head())
    expected = tuner().round(sound.state, batches(2, seed=2), head())
    assert equal(dict(after.state), dict(expected.state))


def test_a_round_tells_how_long_it_took(tuner: Callable[[], Tuner], first: Tensors) -> None:
    assert tuner().round(first, batches(1), head()).seconds == 1  # the clock moves when it is read


def test_the_threads_of_others_are_left_as_they_were(
    tuner: Callable[[], Tuner], first: Tensors
) -> None:
    before = torch.get_num_threads()
    tuner().round(first, batches(1), head())
    assert torch.get_num_threads() == before

"""Fine-tuning: it learns, within its share of the time, the same for the same examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from operators.levels.encoder.finetune import Tuner
from operators.levels.encoder.session import open_encoder
from operators.settings import EncoderSettings
from tests.operators.levels.checks import equal, toy_stream

Written = Callable[..., EncoderSettings]
LABELS = 3


class Clock:
    """Moves on when it is told to, and by `step_s` each time it is read."""

    def __init__(self, step_s: float = 0.0) -> None:
        self.now_s = 0.0
        self.step_s = step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


@pytest.fixture
def tuner(written: Written) -> Callable[..., Tuner]:
    def make(clock: Clock | None = None, **finetune: Any) -> Tuner:
        plain = {"rate": 0.002, "every": 1, "time_share": 1.0}
        chosen = written(top_layers=1, finetune=plain | finetune)
        encoder = open_encoder(chosen)
        return Tuner(encoder.artifact, encoder.tokens, chosen, clock or Clock())

    return make


def head(seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    random = np.random.default_rng(seed)
    weights = random.normal(size=(32, LABELS)).astype(np.float32) * 0.2
    return {"weights": weights, "bias": np.zeros(LABELS, np.float32)}


def examples(count: int = 8, seed: int = 0) -> tuple[list[str], npt.NDArray[np.intp]]:
    texts, labels = zip(*toy_stream(count, seed), strict=True)
    return list(texts), np.array(labels, np.intp)


def loss(embeddings: npt.NDArray[np.float32], labels: npt.NDArray[np.intp]) -> float:
    logits = embeddings @ head()["weights"]
    return float(
        torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    )


def test_steps_lower_the_loss_and_move_every_tensor(tuner: Callable[..., Tuner]) -> None:
    taught = tuner()
    before = taught.tensors()
    texts, labels = examples()
    losses = [loss(taught.step(texts, labels, head()), labels) for _ in range(20)]
    assert losses[-1] < losses[0] - 0.1
    after = taught.tensors()
    keys = [name for name in before if not name.endswith("self.key.bias")]  # no gradient: softmax
    assert all(np.abs(after[name] - before[name]).max() > 0 for name in keys)


def test_it_returns_the_embeddings_that_the_served_graph_has(tuner: Callable[..., Tuner]) -> None:
    taught = tuner()
    texts, labels = examples()
    taught.step(texts, labels, head())
    encoder = open_encoder(tuner_settings(taught))
    expected = encoder.embed(texts, encoder.bind(taught.tensors()))
    assert np.abs(taught.step(texts, labels, head()) - expected).max() < 1e-4


def tuner_settings(taught: Tuner) -> EncoderSettings:
    """Any settings with the same graph."""
    artifact = taught._artifact
    return EncoderSettings(
        kind="encoder",
        model=str(artifact.source),
        cache=artifact.folder.parent.parent,
        max_tokens=32,
        top_layers=1,
    )


def test_a_restored_tuner_goes_on_to_the_bit(tuner: Callable[..., Tuner]) -> None:
    steady, restored = tuner(), tuner()
    restored.step(*examples(seed=9), head(1))
    for seed in range(3):
        steady.step(*examples(seed=seed), head())
    restored.restore(steady.snapshot())
    assert equal(restored.snapshot(), steady.snapshot())
    for seed in range(3, 6):
        steady.step(*examples(seed=seed), head())
        restored.step(*examples(seed=seed), head())
    assert equal(restored.snapshot(), steady.snapshot())


def test_adopting_starts_the_optimizer_afresh(tuner: Callable[..., Tuner]) -> None:
    steady, heir = tuner(), tuner()
    heir.step(*examples(seed=9), head(1))
    heir.adopt(steady.tensors())
    assert equal(heir.snapshot(), steady.snapshot())


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_steps_keep_to_their_share_of_the_time(share: float, tuner: Callable[..., Tuner]) -> None:
    """A step takes 1 s by the clock, an annotation between two of them 0.1 s."""
    clock = Clock()
    taught = tuner(clock, time_share=share)
    made = 0
    for number in range(1, 301):
        clock.now_s += 0.1
        if taught.due(number):
            made += 1
            clock.step_s = 1.0
            taught.step(*examples(2), head())
            clock.step_s = 0.0
            clock.now_s -= 1.0  # the clock was read twice: at the step's start and end
    assert share * clock.now_s - 1 <= made <= share * clock.now_s + 1


def test_a_step_is_due_every_so_many_annotations(tuner: Callable[..., Tuner]) -> None:
    taught = tuner(every=4)
    assert [n for n in range(1, 13) if taught.due(n)] == [4, 8, 12]


def test_the_threads_of_others_are_left_as_they_were(tuner: Callable[..., Tuner]) -> None:
    before = torch.get_num_threads()
    tuner().step(*examples(2), head())
    assert torch.get_num_threads() == before

"""Rounds of gradient steps: when they are made, from when on they count, and what survives."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np
import pytest

from operators.levels.encoder.tuning import Batch, Round, Tuning
from operators.levels.port import Tensors, under
from tests.operators.fakes import Later
from tests.operators.levels.checks import equal

HEAD = {"weights": np.zeros((1, 2), np.float32), "bias": np.zeros(2, np.float32)}
BATCH = Batch([0], ["a"], [1])


class Counting:
    """Adds the number of batches to the layer, and counts its rounds as an optimizer would."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds

    def round(self, state: Tensors, batches: Sequence[Batch], head: Tensors) -> Round:
        made = {
            "layer/x": state["layer/x"] + np.float32(len(batches)) + head["bias"][0],
            "step/x": state.get("step/x", np.zeros(1, np.int64)) + 1,
        }
        return Round(made, [np.ones((1, 1), np.float32) for _ in batches], self.seconds)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def made(
    executor: Executor | None = None, share: float = 0.5, clock: Clock | None = None
) -> Tuning:
    layers = {"x": np.zeros(1, np.float32)}
    tuning = Tuning(Counting(), layers, share, clock or Clock())
    if executor is not None:
        tuning.work_on(executor)
    return tuning


def test_a_round_counts_only_once_it_is_collected() -> None:
    later = Later()
    tuning = made(later)
    tuning.begin([BATCH, BATCH], HEAD)
    later.work()
    assert tuning.layers["x"] == 0
    ((batch, embeddings), _) = tuning.collect()
    assert (batch, embeddings.shape) == (BATCH, (1, 1))
    assert tuning.layers["x"] == 2
    assert tuning.collect() == []


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_rounds_rest_until_they_keep_to_their_share_of_the_time(share: float) -> None:
    clock, later = Clock(), Later()
    tuning = made(later, share, clock)
    rounds = 0
    for _ in range(800):
        clock.now_s += 0.125
        later.work()  # a round takes 1 s of other threads: it may be done before its time is over
        if tuning.rested:
            tuning.collect()
            tuning.begin([BATCH], HEAD)
            rounds += 1
    assert share * clock.now_s - 1.1 <= rounds <= share * clock.now_s + 1.1


def test_it_does_not_rest_while_a_round_is_under_way() -> None:
    clock, later = Clock(), Later()
    tuning = made(later, 1.0, clock)
    assert tuning.rested
    tuning.begin([BATCH], HEAD)
    clock.now_s = 1000
    assert not tuning.rested
    later.work()
    assert tuning.rested


def test_a_round_under_way_is_made_again_after_a_restore() -> None:
    never = Later()
    steady, stopped = made(), made(never)
    for tuning in (steady, stopped):
        never.work()
        tuning.begin([BATCH], HEAD)
        never.work()
        tuning.collect()
        tuning.begin([BATCH, BATCH], {**HEAD, "bias": np.full(2, 0.5, np.float32)})
    restored = made()
    restored.begin([BATCH], HEAD)  # an earlier life
    snapshot = stopped.snapshot()
    restored.restore(snapshot)
    assert equal(restored.snapshot(), snapshot)
    assert len(restored.collect()) == 2
    steady.collect()
    assert restored.layers["x"] == steady.layers["x"] == 3.5
    assert equal(restored.snapshot(), steady.snapshot())


def test_adopted_layers_know_nothing_of_the_round_under_way() -> None:
    tuning = made()
    tuning.begin([BATCH], HEAD)
    tuning.collect()
    tuning.begin([BATCH], HEAD)
    tuning.adopt({"x": np.full(1, 7, np.float32)})
    assert tuning.collect() == []
    assert tuning.layers["x"] == 7
    assert under("state/step", tuning.snapshot()) == {}

"""A head of bounded weights, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.study.bounded import fitted_cost, log_loss

RNG = np.random.default_rng(0)
EMBEDDINGS = RNG.normal(size=(200, 8)).astype(np.float32)
NOISE = RNG.normal(size=200)
LABELS = (EMBEDDINGS[:, 0] + 0.5 * NOISE > 0).astype(np.intp)


def test_more_room_never_costs_more_and_deferring_saves() -> None:
    costs = [fitted_cost(EMBEDDINGS, LABELS, 0, radius) for radius in (0.05, 0.5, 2, 100)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] == pytest.approx(200 * np.log(2), rel=0.05)
    asked = [fitted_cost(EMBEDDINGS, LABELS, calls, 2) for calls in (0, 20, 100, 200)]
    assert asked == sorted(asked, reverse=True)
    assert asked[1] < 0.9 * asked[0]
    assert asked[-1] == 0


def test_what_can_be_told_apart_costs_next_to_nothing() -> None:
    labels = (EMBEDDINGS[:, 0] > 0).astype(np.intp) * 2  # a label between them never comes
    assert fitted_cost(EMBEDDINGS, labels, 0, 1000) < 2


def test_a_wrong_answer_without_a_doubt_has_a_price() -> None:
    assert log_loss(np.array([1.0, 0.5, 0.0])) == pytest.approx([0, np.log(2), np.log(10_000)])

"""Each score is what its name says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.study.methods import scores

SURE, TORN, FLAT = [0.98, 0.01, 0.01], [0.49, 0.48, 0.03], [0.36, 0.32, 0.32]


def score(name: str, rows: list[list[float]]) -> list[float]:
    together = np.array(rows)
    made = getattr(scores, name)(together[None], together)
    return [round(float(value), 6) for value in made]


def test_least_confidence_is_one_minus_the_top_probability() -> None:
    assert score("max_probability", [SURE, TORN, FLAT]) == [0.02, 0.51, 0.64]


def test_margin_looks_at_the_top_two_alone() -> None:
    assert score("margin", [SURE, TORN, FLAT]) == [0.03, 0.99, 0.96]


def test_entropy_is_that_of_the_distribution_in_nats() -> None:
    sure, _, flat = score("entropy", [SURE, TORN, FLAT])
    assert flat == pytest.approx(-0.36 * np.log(0.36) - 2 * 0.32 * np.log(0.32), abs=1e-6)
    assert sure < flat


@given(st.floats(0.001, 0.999))
def test_of_two_labels_all_three_rank_alike(p: float) -> None:
    rows = [[p, 1 - p], [0.3, 0.7]]
    orders = {
        tuple(np.argsort(score(name, rows), kind="stable"))
        for name in ("max_probability", "margin", "entropy")
    }
    assert len(orders) == 1 or abs(abs(p - 0.5) - 0.2) < 1e-5


def test_committee_counts_the_members_that_contradict_the_answer() -> None:
    together = np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.6, 0.4]])
    votes = [[0, 0, 0], [0, 0, 1], [0, 1, 1], [1, 1, 1]]
    opinions = np.array([[[0.9, 0.1] if v == 0 else [0.1, 0.9] for v in row] for row in votes])
    made = scores.committee(opinions.transpose(1, 0, 2), together)
    assert list(np.argsort(made)) == [0, 1, 2, 3]
    assert np.floor(made * 3 + 1e-9).tolist() == [0, 1, 2, 3]


def test_committee_of_one_mind_ranks_by_least_confidence() -> None:
    together = np.array([SURE, FLAT, TORN])
    made = scores.committee(np.stack([together] * 4), together)
    assert list(np.argsort(made)) == [0, 2, 1]


def test_chance_depends_on_seed_and_id_alone() -> None:
    first = scores.by_chance(1, ["a", "b"])
    assert first.tolist() == scores.by_chance(1, ["b", "a"])[::-1].tolist()
    assert first.tolist() != scores.by_chance(2, ["a", "b"]).tolist()

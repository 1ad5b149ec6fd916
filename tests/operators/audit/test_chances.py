"""Chances of an audit: by doubt, never below the least, as many as wanted in the mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.audit.chances import AuditChances

CHANCES = AuditChances(mean=0.02, least=0.005)


def test_doubt_is_audited_more_often_and_certainty_all_the_same() -> None:
    usual = np.array([0.05, 0.15])
    chances = CHANCES.of(np.array([0.0, 0.1, 0.5]), usual, np.zeros(3))
    assert chances.tolist() == [0.005, 0.02, 0.08]


@given(
    doubts=st.lists(st.floats(0, 1), max_size=50),
    accepted=st.lists(st.floats(0, 1), max_size=50),
    mean=st.floats(1e-4, 0.5),
    part=st.floats(0.01, 1),
)
def test_every_chance_is_the_least_times_a_power_of_two(
    doubts: list[float], accepted: list[float], mean: float, part: float
) -> None:
    least = part * mean
    coins = np.random.default_rng(0).random(len(doubts))
    chances = AuditChances(mean, least).of(np.array(doubts), np.array(accepted), coins)
    assert ((chances >= least) & (chances <= 1)).all()
    assert (2.0 ** np.rint(np.log2(chances / least)) * least == chances).all()


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0, 1e6])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.7, 1.0])
def test_the_share_is_kept_whatever_is_in_doubt(spread: float, part: float) -> None:
    random = np.random.default_rng(0)
    doubts = random.beta(spread, 5, 20_000) / 2
    chances = AuditChances(0.02, part * 0.02).of(doubts, doubts, random.random(20_000))
    assert chances.mean() == pytest.approx(0.02, rel=0.02)


def test_all_alike_where_the_least_is_the_mean_and_none_where_it_is_nothing() -> None:
    doubts = np.array([0.0, 0.2, 0.5])
    assert AuditChances(0.1, 0.1).of(doubts, doubts, np.zeros(3)).tolist() == [0.1] * 3
    assert AuditChances(0.0, 0.0).of(doubts, doubts, np.zeros(3)).tolist() == [0.0] * 3


def test_before_anything_was_accepted_the_least_is_taken() -> None:
    assert CHANCES.of(np.array([0.2]), np.empty(0), np.zeros(1)).tolist() == [0.005]

"""The score window is a quantile, ties and all; the highest scores win what is left."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.policy.threshold import ScoreWindow, highest

_SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=60)


@given(scores=_SCORES, rate=st.floats(0.001, 0.999))
def test_the_wanted_share_of_the_window_reaches_the_threshold(
    scores: list[float], rate: float
) -> None:
    window = ScoreWindow(100)
    window.extend(scores)
    threshold = window.threshold(rate)
    assert threshold in scores
    above = sum(score > threshold for score in scores)
    reached = sum(score >= threshold for score in scores)
    assert above <= rate * len(scores) + 1e-9
    assert reached >= rate * len(scores) - 1e-9
    if len(set(scores)) == len(scores):
        assert reached <= rate * len(scores) + 1 + 1e-9


@given(scores=_SCORES, low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_higher_rate_never_lets_fewer_pass(scores: list[float], low: float, high: float) -> None:
    window = ScoreWindow(100)
    window.extend(scores)
    assert window.threshold(max(low, high)) <= window.threshold(min(low, high))


def test_extremes() -> None:
    window = ScoreWindow(3)
    assert window.threshold(0.5) == math.inf
    assert window.threshold(1) == -math.inf
    window.extend([0.2, 0.4])
    assert window.threshold(0) == window.threshold(-1) == math.inf
    assert window.threshold(1) == window.threshold(1.5) == -math.inf


def test_ties_all_pass_or_none() -> None:
    window = ScoreWindow(10)
    window.extend([0.5] * 10)
    assert window.threshold(0.1) == 0.5


def test_only_the_latest_scores_count() -> None:
    window = ScoreWindow(4)
    window.extend([0.9] * 10)
    window.extend([0.1, 0.2, 0.3, 0.4])
    assert window.threshold(0.5) == 0.3
    assert window.latest(2) == [0.3, 0.4]
    assert window.latest(9) == [0.1, 0.2, 0.3, 0.4]


@given(scores=_SCORES, data=st.data(), limit=st.none() | st.integers(0, 70))
def test_highest(scores: list[float], data: st.DataObject, limit: int | None) -> None:
    count = len(scores)
    flags = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    wanted = np.array(flags)
    kept = highest(np.array(scores), wanted, limit)
    assert not (kept & ~wanted).any()
    assert kept.sum() == (wanted.sum() if limit is None else min(limit, wanted.sum()))
    dropped = wanted & ~kept
    if kept.any() and dropped.any():
        assert np.array(scores)[kept].min() >= np.array(scores)[dropped].max()


@pytest.mark.parametrize("limit", [None, 0, 1])
def test_highest_of_nothing(limit: int | None) -> None:
    assert highest(np.empty(0), np.empty(0, np.bool_), limit).shape == (0,)

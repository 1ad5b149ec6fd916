"""Bounds on disagreements: right with the stated probability, at every moment together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.audit.bounds import fewest_disagreements, most_disagreements

Bound = Callable[[int, float, float], int]
RATES = st.sampled_from([0.01, 0.02, 0.1, 0.3, 0.7, 1.0])
WALKS, LENGTH = 1500, 1200


def _walks(rate: float) -> np.ndarray:
    """Disagreements found among the first 1, 2, ..., LENGTH, in many streams."""
    coins = np.random.default_rng(7).random((WALKS, LENGTH)) < rate
    return coins.cumsum(axis=1)


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_a_bound_fails_at_any_moment_no_more_often_than_stated(rate: float, alpha: float) -> None:
    found, total = _walks(rate), np.arange(1, LENGTH + 1)
    numbers = range(int(found.max()) + 1)
    most = np.array([most_disagreements(n, rate, alpha) for n in numbers])[found]
    fewest = np.array([fewest_disagreements(n, rate, alpha) for n in numbers])[found]
    slack = 3 * np.sqrt(alpha / WALKS)  # of the simulation
    assert (total > most).any(axis=1).mean() <= alpha + slack
    assert (total < fewest).any(axis=1).mean() <= alpha + slack


def test_looking_at_every_moment_would_break_a_bound_for_one_moment() -> None:
    """What the mixture is for: an exact interval, looked at all the time, fails far more often."""
    from scipy.stats import beta

    rate, alpha = 0.1, 0.05
    found, total = _walks(rate), np.arange(1, LENGTH + 1)
    below = beta.ppf(1 - alpha, found + 1, np.maximum(total - found, 1e-9)) < rate
    assert below.any(axis=1).mean() > 2 * alpha


@given(found=st.integers(0, 300), rate=RATES, alpha=st.sampled_from([0.01, 0.05, 0.3]))
def test_the_bounds_hold_what_was_found_and_grow_with_it(
    found: int, rate: float, alpha: float
) -> None:
    low, high = fewest_disagreements(found, rate, alpha), most_disagreements(found, rate, alpha)
    assert found <= low <= high
    assert most_disagreements(found + 1, rate, alpha) > high
    assert fewest_disagreements(found + 1, rate, alpha) >= low


@given(found=st.integers(0, 100), rate=st.sampled_from([0.02, 0.1, 0.5]))
def test_more_confidence_and_fewer_audits_cost_width(found: int, rate: float) -> None:
    assert most_disagreements(found, rate, 0.01) >= most_disagreements(found, rate, 0.1)
    assert most_disagreements(found, rate, 0.05) >= most_disagreements(found, 1.5 * rate, 0.05)


def test_everything_audited_is_everything_known() -> None:
    assert most_disagreements(17, 1, 0.05) == fewest_disagreements(17, 1, 0.05) == 17


def test_the_bounds_close_in_on_what_was_found() -> None:
    rate, found = 0.1, 2000
    assert most_disagreements(found, rate, 0.05) < 1.1 * found / rate
    assert fewest_disagreements(found, rate, 0.05) > 0.9 * found / rate


@pytest.mark.parametrize("bound", [most_disagreements, fewest_disagreements])
@pytest.mark.parametrize(
    ("found", "rate", "alpha"),
    [(-1, 0.1, 0.1), (1, 0.0, 0.1), (1, 1.1, 0.1), (1, 0.1, 0.0), (1, 0.1, 1.0)],
)
def test_what_is_no_audit_has_no_bound(bound: Bound, found: int, rate: float, alpha: float) -> None:
    with pytest.raises(ValueError, match="no bound for"):
        bound(found, rate, alpha)

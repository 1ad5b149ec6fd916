"""Bounds on disagreements: right with the stated probability, at every moment together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.audit.bounds import Findings, fewest_disagreements, most_disagreements

Bound = Callable[[Findings, float, float], int]
Choice = Callable[[int, npt.NDArray[np.int64]], float]
RATES = st.sampled_from([0.01, 0.02, 0.1, 0.3, 0.7, 1.0])
STREAMS, LENGTH = 400, 600


def alike(_: int, __: npt.NDArray[np.int64]) -> float:
    """Every answer is as likely to be audited."""
    return 1


def by_doubt(total: int, _: npt.NDArray[np.int64]) -> float:
    """Sure ones and doubtful ones come by turns."""
    return float((1, 4, 1, 2)[total % 4])


def relieved(total: int, found: npt.NDArray[np.int64]) -> float:
    """Looks away after a finding, and looks hard as long as there was none."""
    return 1 if found.sum() * 40 > total else 4


@pytest.mark.parametrize("choice", [alike, by_doubt, relieved])
@pytest.mark.parametrize("least", [0.02, 0.1])
def test_a_bound_fails_at_any_moment_no_more_often_than_stated(
    choice: Choice, least: float
) -> None:
    alpha, failed = 0.1, {most_disagreements: 0, fewest_disagreements: 0}
    for seed in range(STREAMS):
        random, found = np.random.default_rng(seed), np.zeros(3, np.int64)
        wrong = dict.fromkeys(failed, False)
        for total in range(1, LENGTH + 1):
            times = choice(total, found)
            if random.random() < times * least:
                found[int(np.log2(times))] += 1
            elif total % 10:  # what is proved changes little from one to the next
                continue
            counts = {least: int(found[0]), 2 * least: int(found[1]), 4 * least: int(found[2])}
            wrong[most_disagreements] |= total > most_disagreements(counts, least, alpha)
            wrong[fewest_disagreements] |= total < fewest_disagreements(counts, least, alpha)
        for bound, bad in wrong.items():
            failed[bound] += bad
    slack = 3 * (alpha * (1 - alpha) / STREAMS) ** 0.5  # of the simulation
    for bound, times in failed.items():
        assert times / STREAMS <= alpha + slack, bound.__name__


def test_looking_at_every_moment_would_break_a_bound_for_one_moment() -> None:
    """What the mixture is for: an exact interval, looked at all the time, fails far more often."""
    from scipy.stats import beta

    rate, alpha, walks = 0.1, 0.05, 1500
    coins = np.random.default_rng(7).random((walks, LENGTH)) < rate
    found, total = coins.cumsum(axis=1), np.arange(1, LENGTH + 1)
    below = beta.ppf(1 - alpha, found + 1, np.maximum(total - found, 1e-9)) < rate
    assert below.any(axis=1).mean() > 2 * alpha


@given(
    found=st.lists(st.integers(0, 100), min_size=3, max_size=3),
    least=RATES,
    alpha=st.sampled_from([0.01, 0.05, 0.3]),
)
def test_the_bounds_hold_what_was_found_and_grow_with_it(
    found: list[int], least: float, alpha: float
) -> None:
    chances = [min(1.0, least * 2**step) for step in range(3)]
    counts = dict(zip(chances, found, strict=False))
    low, high = (b(counts, least, alpha) for b in (fewest_disagreements, most_disagreements))
    assert sum(counts.values()) <= low <= high
    for chance in counts:
        more = {**counts, chance: counts[chance] + 1}
        assert most_disagreements(more, least, alpha) > high
        assert fewest_disagreements(more, least, alpha) >= low


@given(found=st.integers(0, 100), rate=st.sampled_from([0.02, 0.1, 0.5]))
def test_more_confidence_and_fewer_audits_cost_width(found: int, rate: float) -> None:
    def most(rate: float, alpha: float) -> int:
        return most_disagreements({rate: found}, rate, alpha)

    assert most(rate, 0.01) >= most(rate, 0.1)
    assert most(rate, 0.05) >= most(1.5 * rate, 0.05)


def test_one_that_was_likely_to_be_found_stands_for_fewer() -> None:
    rare, likely = {0.01: 50}, {0.04: 50}
    assert most_disagreements(likely, 0.01, 0.05) < most_disagreements(rare, 0.01, 0.05) / 2
    assert fewest_disagreements(likely, 0.01, 0.05) < fewest_disagreements(rare, 0.01, 0.05) / 2


def test_everything_audited_is_everything_known() -> None:
    assert most_disagreements({1: 17}, 1, 0.05) == fewest_disagreements({1: 17}, 1, 0.05) == 17


def test_nothing_found_leaves_what_a_coin_can_miss() -> None:
    most = most_disagreements({}, 0.1, 0.05)
    assert 0.9**most < 0.05  # not as good as a look at one moment
    assert 0.9**most > 0.05**2
    assert fewest_disagreements({}, 0.1, 0.05) == 0


def test_the_bounds_close_in_on_what_was_found() -> None:
    found = {0.1: 1000, 0.2: 2000}
    assert most_disagreements(found, 0.1, 0.05) < 1.1 * 20_000
    assert fewest_disagreements(found, 0.1, 0.05) > 0.9 * 20_000


@pytest.mark.parametrize("bound", [most_disagreements, fewest_disagreements])
@pytest.mark.parametrize(
    ("found", "least", "alpha"),
    [
        ({0.1: -1}, 0.1, 0.1),
        ({}, 0.0, 0.1),
        ({}, 1.1, 0.1),
        ({0.1: 1}, 0.2, 0.1),
        ({1.2: 1}, 0.2, 0.1),
        ({0.1: 1}, 0.1, 0.0),
        ({0.1: 1}, 0.1, 1.0),
    ],
)
def test_what_is_no_audit_has_no_bound(
    bound: Bound, found: Findings, least: float, alpha: float
) -> None:
    with pytest.raises(ValueError, match="no bound for"):
        bound(found, least, alpha)

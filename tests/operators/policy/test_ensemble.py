"""The weighted geometric mean of the levels' opinions, and how its weights learn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.policy.ensemble import combine, first, improve, log_opinion, normalise, scale

_SEED = st.integers(0, 2**32 - 1)


def opinions(
    seed: int, levels: int = 2, rows: int = 5, labels: int = 3
) -> list[npt.NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    return list(random.dirichlet(np.ones(labels), size=(levels, rows)))


def log_loss(
    weights: npt.NDArray[np.float64], views: list[npt.NDArray[np.float64]], label: int
) -> float:
    return -float(np.log(combine(views, weights)[0, label]))


@given(seed=_SEED, levels=st.integers(1, 3), scale=st.floats(0.05, 3))
def test_combine_is_a_weighted_geometric_mean(seed: int, levels: int, scale: float) -> None:
    views = opinions(seed, levels)
    weights = scale * np.arange(1, levels + 1)
    plain = np.prod([p**w for p, w in zip(views, weights, strict=True)], axis=0)
    plain /= plain.sum(axis=1, keepdims=True)
    assert combine(views, weights) == pytest.approx(plain, abs=1e-5)


def test_one_level_with_weight_one_is_its_opinion() -> None:
    (view,) = opinions(1, levels=1)
    assert combine([view], np.ones(1)) == pytest.approx(view, abs=1e-6)


def test_certainty_stays_finite() -> None:
    sure = [np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])]
    assert combine(sure, np.array([3.0, 3.0]))[0] == pytest.approx([0.5, 0.5])
    assert np.isfinite(log_opinion(sure[0])).all()
    assert normalise(np.array([[1e5, -1e5]]))[0].tolist() == [1, 0]


@settings(max_examples=50)
@given(seed=_SEED, label=st.integers(0, 2))
def test_a_step_is_minus_rate_times_the_gradient_of_the_log_loss(seed: int, label: int) -> None:
    views = opinions(seed, rows=1)
    weights, rate, shift = np.array([1.0, 0.7]), 1e-3, 1e-6
    slope = [
        (
            log_loss(weights + shift * unit, views, label)
            - log_loss(weights - shift * unit, views, label)
        )
        / (2 * shift)
        for unit in np.eye(2)
    ]
    moved = improve(weights, views, np.array([label]), rate)
    assert (weights - moved) / rate == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_learning_reduces_the_log_loss_and_trusts_the_better_level() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(3, size=600)
    good = 0.25 * random.dirichlet(np.ones(3), 600) + 0.75 * np.eye(3)[labels]
    noise = random.dirichlet(np.ones(3), 600)
    first = np.ones(2)
    learned = improve(first, [noise, good], labels, 0.02)
    assert learned[1] > 1 > learned[0]

    def loss(weights: npt.NDArray[np.float64]) -> float:
        return -float(
            np.log(combine([noise, good], weights)[np.arange(len(labels)), labels]).mean()
        )

    assert loss(learned) < loss(first) - 0.02


@given(seed=_SEED, label=st.integers(0, 2), rate=st.floats(0, 1))
def test_weights_stay_in_their_range(seed: int, label: int, rate: float) -> None:
    views = opinions(seed, rows=20)
    moved = improve(np.ones(2), views, np.full(20, label), rate)
    assert ((moved >= 0.05) & (moved <= 5.0)).all()
    if rate == 0:
        assert moved.tolist() == [1, 1]


@pytest.mark.parametrize("levels", [1, 2, 3, 5])
def test_at_first_the_last_level_leads_and_the_weights_are_worth_one_each(levels: int) -> None:
    weights = first(levels)
    assert weights.sum() == pytest.approx(levels)
    assert all(weights[:-1] < weights[-1])


@pytest.mark.parametrize("asked", [1, 2, 3])
def test_the_first_levels_together_are_scaled_to_be_as_sure_as_all(asked: int) -> None:
    weights = np.array([0.5, 0.25, 1.5])
    opinion = np.array([[0.8, 0.2]])
    # Of one mind, levels say what each of them says, at the temperature of all.
    some = combine([opinion] * asked, weights[:asked] * scale(weights, asked))
    assert some == pytest.approx(combine([opinion] * asked, np.full(asked, weights.mean())))
    assert scale(weights, 3) == 1

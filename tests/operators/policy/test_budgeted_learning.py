"""The budgeted gate: what it learns, and serves of what was learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.errors import TensorMismatch
from model_store.ledger import Usage
from operators.policy.budgeted import BudgetedLearner
from operators.policy.ensemble import combine
from operators.settings import BudgetedSettings, BudgetSettings
from tests.operators.fakes import chunk, confident
from tests.operators.policy.driving import NO_AUDIT, FloatArray, policy


def release(weights: Sequence[float], *gates: Sequence[float]) -> dict[str, npt.NDArray[Any]]:
    return {
        "ensemble": np.array(weights, np.float32),
        "gates": np.array(gates, np.float32).reshape(len(weights) - 1, 2),
        "trust": np.array([0.0, 1.0], np.float32),
    }


def test_exit_gates_and_ensemble_come_from_the_release() -> None:
    served = policy(NO_AUDIT, BudgetSettings(share=0.05, burst=0), levels=2)
    usage = Usage(seen=100, deferred=5, settled=5, reserved=5)
    one, two = confident(0.99, 0), confident(0.9, 1)
    served.swap(served.stage(release([0.5, 2.0], [20.0, 1.0])))  # never safe to leave
    asked = chunk([one], [two])
    routing = served.route(asked, usage)
    assert asked.asked == [{0}, {0}]
    together = combine([np.array([one]), np.array([two])], np.array([0.5, 2.0]))
    assert routing.probabilities == pytest.approx(together, abs=1e-6)
    assert routing.level.tolist() == [1]
    served.swap(served.stage(release([0.5, 2.0], [-20.0, 1.0])))  # always safe
    asked = chunk([one], [two])
    served.route(asked, usage)
    assert asked.asked == [{0}, set()]


@pytest.mark.parametrize(
    "broken",
    [
        {},
        release([1.0]),
        release([1.0, 1.0, 1.0], [0, 1], [0, 1]),
        {**release([1.0, 1.0], [0, 1]), "gates": np.zeros((1, 3), np.float32)},
        {**release([1.0, 1.0], [0, 1]), "ensemble": np.ones(2)},
        {**release([1.0, 1.0], [0, 1]), "trust": np.zeros(3, np.float32)},
    ],
)
def test_a_release_that_does_not_fit_changes_nothing(broken: dict[str, Any]) -> None:
    served = policy(levels=2)
    before = served._weights
    with pytest.raises(TensorMismatch, match="Operator action"):
        served.stage(broken)
    assert served._weights is before


def lesson(
    seed: int, rows: int, levels: int
) -> tuple[list[FloatArray], npt.NDArray[np.intp], FloatArray]:
    random = np.random.default_rng(seed)
    views = list(random.dirichlet(np.ones(3), size=(levels, rows)))
    return views, random.integers(3, size=rows), random.uniform(0.02, 1, rows)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_what_is_learned_is_published_and_adopted(levels: int) -> None:
    learner, heir = (BudgetedLearner(BudgetedSettings(), levels) for _ in range(2))
    for seed in range(5):
        learner.learn(*lesson(seed, 8, levels))
    published = learner.tensors([5] * levels)
    assert not np.array_equal(published["ensemble"], np.ones(levels))
    served = policy(levels=levels)
    served.swap(served.stage(published))
    heir.adopt(published)
    for name, array in heir.tensors([5] * levels).items():
        assert np.array_equal(array, published[name])


@settings(max_examples=25, deadline=None)
@given(levels=st.integers(1, 3), seeds=st.lists(st.integers(0, 99), max_size=6), data=st.data())
def test_a_snapshot_goes_on_as_if_never_stopped(
    levels: int, seeds: list[int], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(seeds)))
    steady, second = (BudgetedLearner(BudgetedSettings(), levels) for _ in range(2))
    second.learn(*lesson(100, 4, levels))
    for seed in seeds[:at]:
        steady.learn(*lesson(seed, 4, levels))
    second.restore(steady.snapshot())
    for seed in seeds[at:]:
        steady.learn(*lesson(seed, 4, levels))
        second.learn(*lesson(seed, 4, levels))
    for name, array in steady.snapshot().items():
        assert np.array_equal(array, second.snapshot()[name])

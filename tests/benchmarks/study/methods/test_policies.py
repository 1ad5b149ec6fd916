"""The baselines: what each sends, and what it answers by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from benchmarks.study.methods import scores
from benchmarks.study.methods.committee import BaggedLearner
from benchmarks.study.methods.distillation import FirstCalls
from benchmarks.study.methods.online_ensemble import (
    EnsembleLearner,
    EnsemblePolicy,
    on_simplex,
)
from benchmarks.study.methods.scored import ScoredPolicy
from model_store.errors import TensorMismatch
from model_store.ledger import Usage
from operators.budget import SpendingPlan
from operators.levels.linear import LinearLearner
from operators.policy.port import Policy
from operators.settings import BudgetedSettings, BudgetSettings, FeatureSettings, LinearSettings
from tests.operators.fakes import chunk, memory_ledger

FRESH = Usage(seen=0, deferred=0, settled=0, reserved=0)
EVENTS, SIZE = 600, 20


def plan(calls: int, pace: float = 1.0) -> SpendingPlan:
    return SpendingPlan(BudgetSettings(calls=calls, events=EVENTS, pace=pace))


def drive(policy: Policy, doubts: Sequence[float]) -> list[bool]:
    """Which events are sent of a stream of these doubts, each call granted at once."""
    ledger, sent = memory_ledger(), list[bool]()
    for start in range(0, len(doubts), SIZE):
        rows = [[1 - doubt, doubt] for doubt in doubts[start : start + SIZE]]
        routing = policy.route(chunk(rows, first=start), ledger.usage())
        sent += routing.sent.tolist()
        ledger.progress("s", seen=len(sent), deferred=sum(sent))
        ledger.reserve([str(n) for n in range(sum(sent))], None)
    return sent


def uniform(count: int) -> list[float]:
    return [float(x) for x in np.random.default_rng(0).uniform(0, 0.5, count)]


@pytest.mark.parametrize("score", [None, scores.max_probability, scores.margin, scores.entropy])
def test_a_scored_policy_spends_the_budget_and_never_more(score: scores.Score | None) -> None:
    sent = drive(ScoredPolicy(score, BudgetedSettings(), 1, plan(150), 0), uniform(EVENTS))
    assert 0.95 * 150 <= sum(sent) <= 150


def test_a_scored_policy_sends_the_doubtful() -> None:
    doubts = uniform(EVENTS)
    policy = ScoredPolicy(scores.max_probability, BudgetedSettings(), 1, plan(150), 0)
    sent = np.array(drive(policy, doubts))
    assert np.mean(np.array(doubts)[sent]) > 0.4
    assert np.mean(np.array(doubts)[~sent]) < 0.25


def test_random_deferral_does_not_look() -> None:
    doubts = uniform(EVENTS)
    policy = ScoredPolicy(None, BudgetedSettings(), 1, plan(150), 0)
    assert drive(policy, doubts) == drive(policy_again(), doubts[::-1])


def policy_again() -> ScoredPolicy:
    return ScoredPolicy(None, BudgetedSettings(), 1, plan(150), 0)


def test_a_scored_policy_insists_on_the_ensemble_of_its_levels() -> None:
    with pytest.raises(TensorMismatch):
        policy_again().stage({"ensemble": np.ones(2, np.float32)})


def test_distillation_spends_everything_first_and_then_nothing() -> None:
    sent = drive(FirstCalls(plan(150)), uniform(EVENTS))
    assert sent == [True] * 150 + [False] * (EVENTS - 150)


def test_distillation_answers_by_the_last_level_alone() -> None:
    policy = FirstCalls(plan(0))
    routing = policy.route(chunk([[0.9, 0.1]], [[0.2, 0.8]]), FRESH)
    assert routing.probabilities.tolist() == [[0.2, 0.8]]
    assert routing.level.tolist() == [1]


def test_the_online_ensemble_draws_models_by_their_probabilities() -> None:
    policy = EnsemblePolicy(2, plan(EVENTS), 0.25, 0)
    policy.swap(policy.stage({"probabilities": np.array([0.8, 0.2], np.float32)}))
    rows = [[0.9, 0.1]] * EVENTS
    routing = policy.route(chunk(rows, [[0.2, 0.8]] * EVENTS), FRESH)
    assert routing.sent.mean() == pytest.approx(0.25, abs=0.06)
    assert (routing.level == 0).mean() == pytest.approx(0.8, abs=0.06)
    assert (routing.probabilities[:, 0] > 0.5).tolist() == (routing.level == 0).tolist()
    assert routing.propensity.tolist() == [0.25] * EVENTS


def test_the_online_ensemble_comes_to_trust_the_better_model() -> None:
    learner = EnsembleLearner(2)
    good, bad = np.array([[0.9, 0.1]] * 50), np.array([[0.4, 0.6]] * 50)
    learner.learn([bad, good], np.zeros(50, np.intp), np.ones(50))
    weights = learner.tensors([0, 0])["probabilities"]
    assert weights[1] > 0.9
    assert weights.sum() == pytest.approx(1)


@given(arrays.arrays(np.float64, st.integers(1, 6), elements=st.floats(-5, 5)))
def test_projection_lands_on_the_simplex_and_keeps_the_order(
    point: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> None:
    nearest = on_simplex(point)
    assert nearest.min() >= 0
    assert nearest.sum() == pytest.approx(1)
    assert (np.diff(nearest[np.argsort(point)]) >= -1e-12).all()
    assert on_simplex(nearest) == pytest.approx(nearest)


def test_members_of_a_committee_learn_different_resamples() -> None:
    settings = LinearSettings(features=FeatureSettings(bits=10))
    members = [BaggedLearner(LinearLearner(settings, 2, 0), seed) for seed in (1, 2)]
    texts = [f"word{n} tail" for n in range(40)]
    for member in members:
        member.learn(texts, [n % 2 for n in range(40)])
    first, second = (member.predict(texts) for member in members)
    assert not np.allclose(first, second)
    assert (first.argmax(axis=1) == np.arange(40) % 2).mean() > 0.5

"""The budgeted gate: what it spends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.ledger import Usage
from operators.records import Reason
from operators.settings import BudgetedSettings, BudgetSettings
from tests.operators.fakes import chunk, confident
from tests.operators.policy.driving import (
    FRESH,
    KINDS,
    NO_AUDIT,
    cut,
    drive,
    policy,
    scores_like,
    spent,
)


@settings(max_examples=60, deadline=None)
@given(
    calls=st.integers(0, 300),
    events=st.integers(1, 600),
    sizes=st.lists(st.integers(1, 120), min_size=1, max_size=12),
    kind=st.sampled_from(KINDS),
    audit=st.sampled_from([0.0, 0.02, 0.5]),
    seed=st.integers(0, 99),
)
def test_never_more_calls_than_the_cap(
    calls: int, events: int, sizes: list[int], kind: str, audit: float, seed: int
) -> None:
    """However wrong the announced length of the stream is."""
    budget = BudgetSettings(calls=calls, events=events)
    scores = scores_like(kind, seed, sum(sizes))
    served = policy(BudgetedSettings(audit=audit), budget, seed=seed)
    assert spent(drive(served, scores, sizes, budget)) <= calls


@settings(max_examples=40, deadline=None)
@given(
    share=st.floats(0.01, 1),
    burst=st.integers(0, 100),
    sizes=st.lists(st.integers(1, 120), min_size=1, max_size=12),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 99),
)
def test_never_more_than_the_share(
    share: float, burst: int, sizes: list[int], kind: str, seed: int
) -> None:
    budget = BudgetSettings(share=share, burst=burst)
    scores = scores_like(kind, seed, sum(sizes))
    drive(policy(BudgetedSettings(), budget, seed=seed), scores, sizes, budget)


@settings(max_examples=40, deadline=None)
@given(
    events=st.integers(50, 1200),
    portion=st.floats(0, 1),
    size=st.integers(1, 32),
    kind=st.sampled_from(KINDS),
    audit=st.sampled_from([0.0, 0.02]),
    seed=st.integers(0, 99),
)
def test_a_stream_of_known_length_spends_its_calls_to_the_last_few(
    events: int, portion: float, size: int, kind: str, audit: float, seed: int
) -> None:
    calls = round(portion * events)
    budget = BudgetSettings(calls=calls, events=events)
    scores = scores_like(kind, seed, events)
    served = policy(BudgetedSettings(audit=audit), budget, seed=seed)
    assert calls - spent(drive(served, scores, cut(events, size), budget)) <= 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_stream_spends_its_calls_within_a_few_percent(kind: str) -> None:
    budget = BudgetSettings(calls=400, events=4000)
    scores = scores_like(kind, 1, 4000)
    total = spent(drive(policy(BudgetedSettings(), budget), scores, cut(4000, 16), budget))
    assert 388 <= total <= 400


def test_falling_scores_do_not_leave_the_budget_unspent() -> None:
    """Scores fall while the levels learn: a threshold of earlier ones must not stay above."""
    budget = BudgetSettings(calls=300, events=3000)
    scores = np.linspace(0.5, 0.0, 3000).tolist()
    total = spent(drive(policy(NO_AUDIT, budget), scores, cut(3000, 16), budget))
    assert total >= 0.9 * 300


def test_the_share_of_an_endless_stream_is_spent() -> None:
    budget = BudgetSettings(share=0.1, burst=100)
    scores = scores_like("uniform", 0, 5000)
    routings = drive(policy(BudgetedSettings(), budget), scores, cut(5000, 16), budget)
    assert spent(routings) == pytest.approx(0.1 * 5100, rel=0.04)
    assert spent(routings[-100:]) == pytest.approx(0.1 * 1600, rel=0.15)


@pytest.mark.parametrize(("doubt", "reach"), [(0.31, 500), (0.29, 250), (0.0, 250)])
def test_only_real_doubt_is_sent_ahead_of_the_pace(doubt: float, reach: int) -> None:
    """Of two labels who knows nothing doubts by 0.5; a quarter of the stream has gone by."""
    budget = BudgetSettings(calls=1000, events=4000, pace=1)
    scores = [doubt] * 1000
    sent = spent(drive(policy(NO_AUDIT, budget), scores, cut(1000, 4), budget))
    assert sent == pytest.approx(reach, rel=0.1)


def test_who_knows_nothing_is_not_sent_early_where_that_is_turned_off() -> None:
    budget = BudgetSettings(calls=1000, events=4000, pace=1)
    chosen = BudgetedSettings(audit=0, early_doubt=1)
    sent = spent(drive(policy(chosen, budget), [0.5] * 1000, cut(1000, 4), budget))
    assert sent == pytest.approx(250, rel=0.1)


def test_calls_sent_early_are_made_up_for_and_the_end_is_the_same() -> None:
    budget = BudgetSettings(calls=400, events=4000, pace=1)
    scores = np.linspace(0.5, 0.0, 4000).tolist()
    total = spent(drive(policy(NO_AUDIT, budget), scores, cut(4000, 16), budget))
    assert 380 <= total <= 400


def test_a_stream_ahead_of_its_plan_asks_nobody() -> None:
    """Calls are left, but not for now: what was spent early is made up for."""
    budget = BudgetSettings(calls=1000, events=10_000, pace=1)
    served = policy(NO_AUDIT, budget)
    scores = np.random.default_rng(0).uniform(0, 0.5, 64)
    opinions = [[1 - s, s] for s in scores]
    assert served.route(chunk(opinions), FRESH).sent.any()
    ahead = Usage(seen=1000, deferred=400, settled=400, reserved=400)
    routing = served.route(chunk(opinions, first=64), ahead)
    assert not routing.sent.any()
    assert not routing.degraded.any()
    assert set(routing.reasons) == {Reason.ACCEPTED}


def test_when_nothing_is_left_the_unsure_are_degraded_and_nobody_is_audited() -> None:
    chosen = BudgetedSettings(audit=0.2)
    served = policy(chosen, BudgetSettings(calls=100, events=100, pace=1))
    opinions = [[1 - s, s] for s in scores_like("uniform", 0, 60)]
    before = served.route(chunk(opinions), FRESH)
    assert before.sent.all()
    gone = Usage(seen=60, deferred=60, settled=60, reserved=100)  # retries took the rest
    routing = served.route(chunk(opinions, first=60), gone)
    assert not routing.sent.any()
    assert set(routing.reasons) == {Reason.BUDGET}
    assert routing.degraded.all()
    assert not routing.propensity.any()
    late = Usage(seen=200, deferred=60, settled=60, reserved=100)
    assert not served.route(chunk(opinions, first=200), late).propensity.any()


def test_the_last_calls_go_to_the_least_sure_of_a_chunk() -> None:
    served = policy(BudgetedSettings(audit=0, horizon=1), BudgetSettings(calls=2, events=2))
    scores = [0.1, 0.4, 0.2, 0.5, 0.3]
    routing = served.route(chunk([[1 - s, s] for s in scores]), FRESH)
    assert routing.sent.tolist() == [False, True, False, True, False]
    assert routing.degraded.tolist() == [True, False, True, False, True]
    assert routing.propensity.tolist() == [0, 1, 0, 1, 0]
    assert [str(reason) for reason in routing.reasons] == [
        "budget", "policy", "budget", "policy", "budget"
    ]  # fmt: skip


def test_without_a_budget_everything_is_asked() -> None:
    routing = policy(BudgetedSettings()).route(chunk([confident(0.99)] * 20), FRESH)
    assert routing.sent.all()
    assert set(routing.reasons) == {Reason.POLICY}

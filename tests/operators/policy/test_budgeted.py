"""The budgeted gate: what it spends, whom it asks, what it logs."""

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
from operators.budget import SpendingPlan
from operators.coins import coins
from operators.policy.budgeted import BudgetedLearner, BudgetedPolicy
from operators.policy.ensemble import combine
from operators.policy.port import Routing
from operators.records import Reason
from operators.settings import BudgetedSettings, BudgetSettings
from tests.operators.fakes import FakeChunk, chunk, confident, memory_ledger

FloatArray = npt.NDArray[np.float64]
_FRESH = Usage(seen=0, deferred=0, settled=0, reserved=0)
_NO_AUDIT = BudgetedSettings(audit=0)


def policy(
    chosen: BudgetedSettings = _NO_AUDIT,
    budget: BudgetSettings | None = None,
    levels: int = 1,
    seed: int = 0,
) -> BudgetedPolicy:
    return BudgetedPolicy(chosen, levels, SpendingPlan(budget), seed)


def drive(
    served: BudgetedPolicy,
    scores: Sequence[float],
    sizes: Sequence[int],
    budget: BudgetSettings,
) -> list[Routing]:
    """Run a stream of events of these deferral scores; every call is granted and settled at once.

    Asserts at each step that the cap holds.
    """
    plan, ledger, deferred, at = SpendingPlan(budget), memory_ledger(), 0, 0
    routings = []
    for size in sizes:
        part = scores[at : at + size]
        routing = served.route(chunk([[1 - s, s] for s in part], first=at), ledger.usage())
        at += size
        deferred += int(routing.sent.sum())
        ledger.progress("shard", seen=at, deferred=deferred)
        cap = plan.cap(at)
        assert all(ledger.reserve([f"{at}/{n}" for n in range(int(routing.sent.sum()))], cap))
        ledger.settle(deferred)
        assert cap is not None
        assert deferred <= cap
        routings.append(routing)
    return routings


def cut(events: int, size: int) -> list[int]:
    return [min(size, events - start) for start in range(0, events, size)]


def reasons(routings: Sequence[Routing]) -> list[Reason]:
    return [reason for routing in routings for reason in routing.reasons]


def spent(routings: Sequence[Routing]) -> int:
    return sum(int(routing.sent.sum()) for routing in routings)


def _scores(kind: str, seed: int, events: int) -> list[float]:
    random = np.random.default_rng(seed)
    drawn: dict[str, FloatArray] = {
        "uniform": random.uniform(0, 0.5, events),
        "all equal": np.full(events, 0.3),
        "all certain": np.zeros(events),
        "two values": np.where(random.random(events) < 0.1, 0.4, 0.1),
        "mostly certain": random.beta(0.2, 4, events) / 2,
    }
    return [float(score) for score in drawn[kind]]


KINDS = ("uniform", "all equal", "all certain", "two values", "mostly certain")


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
    scores = _scores(kind, seed, sum(sizes))
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
    scores = _scores(kind, seed, sum(sizes))
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
    scores = _scores(kind, seed, events)
    served = policy(BudgetedSettings(audit=audit), budget, seed=seed)
    assert calls - spent(drive(served, scores, cut(events, size), budget)) <= 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_stream_spends_its_calls_within_a_few_percent(kind: str) -> None:
    budget = BudgetSettings(calls=400, events=4000)
    scores = _scores(kind, 1, 4000)
    total = spent(drive(policy(BudgetedSettings(), budget), scores, cut(4000, 16), budget))
    assert 388 <= total <= 400


def test_falling_scores_do_not_leave_the_budget_unspent() -> None:
    """Scores fall while the levels learn: a threshold of earlier ones must not stay above."""
    budget = BudgetSettings(calls=300, events=3000)
    scores = np.linspace(0.5, 0.0, 3000).tolist()
    total = spent(drive(policy(_NO_AUDIT, budget), scores, cut(3000, 16), budget))
    assert total >= 0.9 * 300


def test_the_share_of_an_endless_stream_is_spent() -> None:
    budget = BudgetSettings(share=0.1, burst=100)
    scores = _scores("uniform", 0, 5000)
    routings = drive(policy(BudgetedSettings(), budget), scores, cut(5000, 16), budget)
    assert spent(routings) == pytest.approx(0.1 * 5100, rel=0.04)
    assert spent(routings[-100:]) == pytest.approx(0.1 * 1600, rel=0.15)


def test_the_least_sure_events_are_sent() -> None:
    budget = BudgetSettings(share=0.2, burst=0)
    scores = _scores("uniform", 3, 3000)
    routings = drive(policy(_NO_AUDIT, budget), scores, cut(3000, 25), budget)
    sent = np.concatenate([routing.sent for routing in routings])[500:]
    unsure = np.array(scores[500:])
    assert unsure[sent].mean() > unsure[~sent].mean() + 0.2
    assert unsure[sent].min() > 0.3


def test_a_stream_ahead_of_its_plan_asks_nobody() -> None:
    """Calls are left, but not for now: what was spent early is made up for."""
    budget = BudgetSettings(calls=1000, events=10_000, pace=1)
    served = policy(_NO_AUDIT, budget)
    scores = np.random.default_rng(0).uniform(0, 0.5, 64)
    opinions = [[1 - s, s] for s in scores]
    assert served.route(chunk(opinions), _FRESH).sent.any()
    ahead = Usage(seen=1000, deferred=400, settled=400, reserved=400)
    routing = served.route(chunk(opinions, first=64), ahead)
    assert not routing.sent.any()
    assert not routing.degraded.any()
    assert set(routing.reasons) == {Reason.ACCEPTED}


def test_audits_have_their_share_and_their_propensity() -> None:
    chosen = BudgetedSettings(audit=0.1)
    budget = BudgetSettings(calls=2400, events=6000, pace=1)
    scores = _scores("uniform", 0, 5000)
    routings = drive(policy(chosen, budget), scores, cut(5000, 20), budget)
    why = np.array(reasons(routings))
    sent = np.concatenate([routing.sent for routing in routings])
    propensity = np.concatenate([routing.propensity for routing in routings])
    open_to_audit = (why == Reason.AUDIT) | (why == Reason.ACCEPTED)
    share = (why == Reason.AUDIT).sum() / open_to_audit.sum()
    assert share == pytest.approx(0.1, abs=0.02)
    assert set(propensity[open_to_audit]) == {0.1}
    assert set(propensity[why == Reason.POLICY]) == {1.0}
    assert np.array_equal(sent, (why == Reason.AUDIT) | (why == Reason.POLICY))
    # They do not look at the scores.
    drawn = np.array(scores)
    audited, accepted = drawn[why == Reason.AUDIT], drawn[why == Reason.ACCEPTED]
    assert abs(audited.mean() - accepted.mean()) < 0.03


@pytest.mark.parametrize("size", [16, 64, 256])
def test_audits_have_their_share_of_an_endless_stream(size: int) -> None:
    """Spending by the plan must leave room for them, and degrade nothing."""
    budget = BudgetSettings(share=0.1, burst=500)
    routings = drive(
        policy(BudgetedSettings(audit=0.02), budget),
        _scores("uniform", 0, 20_000),
        cut(20_000, size),
        budget,
    )
    why = np.array(reasons(routings))[10_000:]
    audited, accepted = (why == Reason.AUDIT).sum(), (why == Reason.ACCEPTED).sum()
    assert audited / (audited + accepted) == pytest.approx(0.02, abs=0.01)
    assert (why == Reason.BUDGET).mean() < 0.005


def test_when_nothing_is_left_the_unsure_are_degraded_and_nobody_is_audited() -> None:
    chosen = BudgetedSettings(audit=0.2)
    served = policy(chosen, BudgetSettings(calls=100, events=100, pace=1))
    opinions = [[1 - s, s] for s in _scores("uniform", 0, 60)]
    before = served.route(chunk(opinions), _FRESH)
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
    routing = served.route(chunk([[1 - s, s] for s in scores]), _FRESH)
    assert routing.sent.tolist() == [False, True, False, True, False]
    assert routing.degraded.tolist() == [True, False, True, False, True]
    assert routing.propensity.tolist() == [0, 1, 0, 1, 0]
    assert [str(reason) for reason in routing.reasons] == [
        "budget", "policy", "budget", "policy", "budget"
    ]  # fmt: skip


def test_without_a_budget_everything_is_asked() -> None:
    routing = policy(BudgetedSettings()).route(chunk([confident(0.99)] * 20), _FRESH)
    assert routing.sent.all()
    assert set(routing.reasons) == {Reason.POLICY}


def test_before_the_first_release_all_that_may_go_goes() -> None:
    budget = BudgetSettings(calls=100, events=1000)
    routing = policy(BudgetedSettings(), budget).route(_unsure(), _FRESH)
    assert routing.sent.sum() == 15  # a part of the calls: the rest is for what was learned
    assert [r is Reason.WARMUP for r in routing.reasons] == routing.sent.tolist()
    assert [r is Reason.BUDGET for r in routing.reasons] == routing.degraded.tolist()
    assert set(routing.propensity) == {15 / 40}
    other = policy(BudgetedSettings(), budget, seed=1).route(_unsure(), _FRESH)
    assert other.sent.sum() == 15
    assert not np.array_equal(routing.sent, other.sent)  # by chance, not by place
    free = policy(BudgetedSettings()).route(_unsure(), _FRESH)
    assert free.sent.all()
    assert set(free.propensity) == {1.0}


def _unsure() -> FakeChunk:
    return chunk([[0.5, 0.5]] * 40, trained=False)


def test_turns_do_not_depend_on_the_order_of_construction() -> None:
    budget = BudgetSettings(share=0.2, burst=50)
    scores = _scores("all equal", 0, 400)
    one, two = (
        drive(policy(BudgetedSettings(), budget, seed=5), scores, cut(400, 20), budget)
        for _ in range(2)
    )
    assert reasons(one) == reasons(two)
    other = drive(policy(BudgetedSettings(), budget, seed=6), scores, cut(400, 20), budget)
    assert reasons(one) != reasons(other)


def release(weights: Sequence[float], *gates: Sequence[float]) -> dict[str, npt.NDArray[Any]]:
    return {
        "ensemble": np.array(weights, np.float32),
        "gates": np.array(gates, np.float32).reshape(len(weights) - 1, 2),
        "trust": np.array([0.0, 1.0], np.float32),
    }


def test_three_small_levels_leave_by_their_gates() -> None:
    served = policy(_NO_AUDIT, BudgetSettings(share=0.05, burst=0), levels=3)
    sure, unsure = confident(0.99), confident(0.6)
    first = [sure, unsure, unsure, unsure]
    second = [unsure, sure, unsure, unsure]
    third = [unsure, unsure, sure, unsure]
    asked = chunk(first, second, third)
    routing = served.route(asked, Usage(seen=100, deferred=5, settled=5, reserved=5))
    assert asked.asked == [{0, 1, 2, 3}, {1, 2, 3}, {2, 3}]
    assert routing.level.tolist() == [0, 1, 2, 2]
    assert not routing.sent.any()
    expected = [
        sure,
        combine([np.array([unsure]), np.array([sure])], np.ones(2))[0],
        combine([np.array([unsure]), np.array([unsure]), np.array([sure])], np.ones(3))[0],
        combine([np.array([unsure])] * 3, np.ones(3))[0],
    ]
    assert routing.probabilities == pytest.approx(np.array(expected), abs=1e-6)


def test_before_the_first_release_no_gate_opens() -> None:
    served = policy(_NO_AUDIT, BudgetSettings(share=0.05, burst=0), levels=2)
    asked = chunk([confident(0.999)] * 3, [confident(0.9)] * 3, trained=False)
    routing = served.route(asked, _FRESH)
    assert asked.asked == [{0, 1, 2}, {0, 1, 2}]
    assert routing.level.tolist() == [1, 1, 1]


def test_audited_events_visit_all_levels_and_answer_from_where_they_left() -> None:
    chosen = BudgetedSettings(audit=0.3)
    served = policy(chosen, BudgetSettings(share=0.5, burst=1000), levels=3, seed=4)
    sure, other = confident(0.99, label=0), confident(0.9, label=1)
    events = 200
    asked = chunk([sure] * events, [other] * events, [other] * events)
    # Far ahead of the plan: audits alone are sent.
    routing = served.route(asked, Usage(seen=1000, deferred=900, settled=900, reserved=900))
    audited = set(np.flatnonzero(coins(4, "audit", asked.ids) < 0.3).tolist())
    assert 30 < len(audited) < 90
    assert asked.asked == [set(range(events)), audited, audited]
    assert set(np.flatnonzero(routing.sent).tolist()) == audited
    # What the check is about is the answer that would have gone out.
    assert set(routing.level.tolist()) == {0}
    assert routing.probabilities == pytest.approx(np.array([sure] * events))


def test_exit_gates_and_ensemble_come_from_the_release() -> None:
    served = policy(_NO_AUDIT, BudgetSettings(share=0.05, burst=0), levels=2)
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


def test_scores_survive_in_the_state_of_a_shard() -> None:
    budget = BudgetSettings(share=0.1, burst=0)
    first, second = policy(_NO_AUDIT, budget), policy(_NO_AUDIT, budget)
    usage = Usage(seen=1000, deferred=95, settled=95, reserved=95)
    scores = np.random.default_rng(0).uniform(0, 0.5, 64)
    first.route(chunk([[1 - s, s] for s in scores]), usage)
    second.recall(first.recent())
    later = chunk([[0.51, 0.49], [0.99, 0.01]], first=64)
    assert second.route(later, usage).sent.tolist() == [True, False]
    assert len(first.recent()) == 64
    # Without them an event is measured against its own chunk alone.
    alone = policy(_NO_AUDIT, budget)
    assert alone.route(chunk([[0.99, 0.01]], first=65), usage).sent.tolist() == [True]


@pytest.mark.parametrize("trained", [False, True])
def test_an_empty_chunk_is_routed(*, trained: bool) -> None:
    served = policy(BudgetedSettings(), BudgetSettings(share=0.1), levels=2)
    empty = FakeChunk(np.zeros((2, 0, 2)), [], trained)
    routing = served.route(empty, _FRESH)
    assert routing.sent.shape == (0,)
    assert routing.probabilities.shape == (0, 2)


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

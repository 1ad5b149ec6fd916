"""The budgeted gate: whom it asks, and what it logs."""

from __future__ import annotations

import numpy as np
import pytest

from model_store.ledger import Usage
from operators.coins import coins
from operators.policy.budgeted import BudgetedLearner
from operators.policy.ensemble import combine
from operators.policy.ensemble import first as first_weights
from operators.records import Reason
from operators.settings import BudgetedSettings, BudgetSettings
from tests.operators.fakes import FakeChunk, chunk, confident
from tests.operators.policy.driving import FRESH, NO_AUDIT, cut, drive, policy, reasons, scores_like


def test_the_least_sure_events_are_sent() -> None:
    budget = BudgetSettings(share=0.2, burst=0)
    scores = scores_like("uniform", 3, 3000)
    routings = drive(policy(NO_AUDIT, budget), scores, cut(3000, 25), budget)
    sent = np.concatenate([routing.sent for routing in routings])[500:]
    unsure = np.array(scores[500:])
    assert unsure[sent].mean() > unsure[~sent].mean() + 0.2
    assert unsure[sent].min() > 0.3


def test_audits_have_their_share_and_their_propensity() -> None:
    chosen = BudgetedSettings(audit=0.1)
    budget = BudgetSettings(calls=2400, events=6000, pace=1)
    scores = scores_like("uniform", 0, 5000)
    routings = drive(policy(chosen, budget), scores, cut(5000, 20), budget)
    why = np.array(reasons(routings))
    sent = np.concatenate([routing.sent for routing in routings])
    propensity = np.concatenate([routing.propensity for routing in routings])
    open_to_audit = (why == Reason.AUDIT) | (why == Reason.ACCEPTED)
    share = (why == Reason.AUDIT).sum() / open_to_audit.sum()
    assert share == pytest.approx(0.1, abs=0.02)
    assert propensity[open_to_audit].min() == 0.05
    assert propensity[open_to_audit].mean() == pytest.approx(0.1, abs=0.01)
    assert set(propensity[why == Reason.POLICY]) == {1.0}
    assert np.array_equal(sent, (why == Reason.AUDIT) | (why == Reason.POLICY))
    # The more in doubt, the likelier; and they come as often as is said.
    drawn = np.array(scores)
    audited, accepted = drawn[why == Reason.AUDIT], drawn[why == Reason.ACCEPTED]
    assert audited.mean() > accepted.mean() + 0.02
    for said in (0.05, 0.1):
        met = (why == Reason.AUDIT)[open_to_audit & (propensity == said)]
        assert met.mean() == pytest.approx(said, abs=3 * (said / len(met)) ** 0.5)
        assert len(met) > 500


@pytest.mark.parametrize("size", [16, 64, 256])
def test_audits_have_their_share_of_an_endless_stream(size: int) -> None:
    """Spending by the plan must leave room for them, and degrade nothing."""
    budget = BudgetSettings(share=0.1, burst=500)
    routings = drive(
        policy(BudgetedSettings(audit=0.02), budget),
        scores_like("uniform", 0, 20_000),
        cut(20_000, size),
        budget,
    )
    why = np.array(reasons(routings))[10_000:]
    audited, accepted = (why == Reason.AUDIT).sum(), (why == Reason.ACCEPTED).sum()
    assert audited / (audited + accepted) == pytest.approx(0.02, abs=0.01)
    assert (why == Reason.BUDGET).mean() < 0.005


def test_before_the_first_release_all_that_may_go_goes() -> None:
    budget = BudgetSettings(calls=100, events=1000)
    routing = policy(BudgetedSettings(), budget).route(_unsure(), FRESH)
    assert routing.sent.sum() == 15  # a part of the calls: the rest is for what was learned
    assert [r is Reason.WARMUP for r in routing.reasons] == routing.sent.tolist()
    assert [r is Reason.BUDGET for r in routing.reasons] == routing.degraded.tolist()
    assert set(routing.propensity) == {15 / 40}
    other = policy(BudgetedSettings(), budget, seed=1).route(_unsure(), FRESH)
    assert other.sent.sum() == 15
    assert not np.array_equal(routing.sent, other.sent)  # by chance, not by place
    free = policy(BudgetedSettings()).route(_unsure(), FRESH)
    assert free.sent.all()
    assert set(free.propensity) == {1.0}


def _unsure() -> FakeChunk:
    return chunk([[0.5, 0.5]] * 40, trained=False)


def test_turns_do_not_depend_on_the_order_of_construction() -> None:
    budget = BudgetSettings(share=0.2, burst=50)
    scores = scores_like("all equal", 0, 400)
    one, two = (
        drive(policy(BudgetedSettings(), budget, seed=5), scores, cut(400, 20), budget)
        for _ in range(2)
    )
    assert reasons(one) == reasons(two)
    other = drive(policy(BudgetedSettings(), budget, seed=6), scores, cut(400, 20), budget)
    assert reasons(one) != reasons(other)


def test_three_small_levels_leave_by_their_gates() -> None:
    chosen = BudgetedSettings(audit=0, exit_risk=0.02)
    served = policy(chosen, BudgetSettings(share=0.05, burst=0), levels=3)
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
        combine([np.array([unsure]), np.array([unsure]), np.array([sure])], first_weights(3))[0],
        combine([np.array([unsure])] * 3, first_weights(3))[0],
    ]
    assert routing.probabilities == pytest.approx(np.array(expected), abs=1e-6)


def test_before_the_first_release_no_gate_opens() -> None:
    served = policy(NO_AUDIT, BudgetSettings(share=0.05, burst=0), levels=2)
    asked = chunk([confident(0.999)] * 3, [confident(0.9)] * 3, trained=False)
    routing = served.route(asked, FRESH)
    assert asked.asked == [{0, 1, 2}, {0, 1, 2}]
    assert routing.level.tolist() == [1, 1, 1]


def test_audited_events_visit_all_levels_and_answer_from_where_they_left() -> None:
    chosen = BudgetedSettings(audit=0.4, audit_least=0.5, exit_risk=0.02)
    served = policy(chosen, BudgetSettings(share=0.5, burst=1000), levels=3, seed=4)
    sure, other = confident(0.99, label=0), confident(0.9, label=1)
    events = 200
    asked = chunk([sure] * events, [other] * events, [other] * events)
    # Far ahead of the plan: audits alone are sent.
    routing = served.route(asked, Usage(seen=1000, deferred=900, settled=900, reserved=900))
    audited = set(np.flatnonzero(coins(4, "audit", asked.ids) < 0.2).tolist())
    assert 20 < len(audited) < 60
    assert asked.asked == [set(range(events)), audited, audited]
    assert set(np.flatnonzero(routing.sent).tolist()) == audited
    # What the check is about is the answer that would have gone out.
    assert set(routing.level.tolist()) == {0}
    assert routing.probabilities == pytest.approx(np.array([sure] * events))


def test_scores_survive_in_the_state_of_a_shard() -> None:
    budget = BudgetSettings(share=0.1, burst=0)
    first, second = policy(NO_AUDIT, budget), policy(NO_AUDIT, budget)
    usage = Usage(seen=1000, deferred=95, settled=95, reserved=95)
    scores = np.random.default_rng(0).uniform(0, 0.5, 64)
    first.route(chunk([[1 - s, s] for s in scores]), usage)
    second.recall(first.recent())
    later = chunk([[0.51, 0.49], [0.99, 0.01]], first=64)
    assert second.route(later, usage).sent.tolist() == [True, False]
    assert len(first.recent()) == 64
    # Without them an event is measured against its own chunk alone.
    alone = policy(NO_AUDIT, budget)
    assert alone.route(chunk([[0.99, 0.01]], first=65), usage).sent.tolist() == [True]


@pytest.mark.parametrize("trained", [False, True])
def test_an_empty_chunk_is_routed(*, trained: bool) -> None:
    served = policy(BudgetedSettings(), BudgetSettings(share=0.1), levels=2)
    empty = FakeChunk(np.zeros((2, 0, 2)), [], trained)
    routing = served.route(empty, FRESH)
    assert routing.sent.shape == (0,)
    assert routing.probabilities.shape == (0, 2)


def test_after_a_restore_audits_are_drawn_by_new_coins() -> None:
    """What is decided again may have been learned from an audit: the same coin would not be one."""

    def audited(restored: list[float] | None = None) -> list[bool]:
        served = policy(BudgetedSettings(audit=0.5), BudgetSettings(share=0.6, burst=1000))
        served.swap(served.stage(BudgetedLearner(BudgetedSettings(), 1).tensors([1])))
        if restored is not None:
            served.recall(restored)
        usage = Usage(seen=100, deferred=400, settled=400, reserved=400)
        routing = served.route(chunk([confident(0.9)] * 64), usage)
        assert Reason.AUDIT in routing.reasons
        return [reason == Reason.AUDIT for reason in routing.reasons]

    assert audited() == audited()
    assert audited([0.1]) != audited()
    assert audited([0.1]) != audited([0.1])
    assert audited([]) != audited([])  # the checkpoint was of the warm-up

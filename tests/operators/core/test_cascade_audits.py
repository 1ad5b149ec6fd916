"""What the cascade tells of the answers that it accepted: each once, with an audit after it."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import encode

from model_store.ledger import Usage
from operators.audit.chances import AuditChances
from operators.budget import SpendingPlan
from operators.core.cascade import Cascade
from operators.policy.budgeted import BudgetedLearner, BudgetedPolicy
from operators.records import Answer, Reason
from operators.settings import BudgetedSettings, BudgetSettings, TaskSettings
from tests.operators.fakes import FakeLevel, chunk, confident, events, memory_ledger

QUESTION = TaskSettings(name="moderation", labels=("no", "yes"), prompt="?")
SETTINGS = BudgetedSettings()


class Trained(Cascade):
    """A cascade that has a release."""

    @property
    def release(self) -> str | None:
        return self._release

    def __init__(self, share: float, burst: int) -> None:
        level = FakeLevel(lambda text: confident(0.5 + int(text) % 50 / 100, int(text) % 2))
        plan = SpendingPlan(BudgetSettings(share=share, burst=burst))
        policy = BudgetedPolicy(SETTINGS, 1, plan, 3, AuditChances(0.2, 0.05))
        policy.swap(policy.stage(BudgetedLearner(SETTINGS, 1).tensors([1])))
        super().__init__(QUESTION, [level], policy, memory_ledger())
        self._release = "r000001-0123456789ab"


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=10),
    share=st.sampled_from([0.02, 0.3, 0.9]),
    burst=st.sampled_from([0, 5, 500]),
    restart_at=st.integers(0, 9),
)
def test_each_accepted_answer_is_exposed_once(
    sizes: list[int], share: float, burst: int, restart_at: int
) -> None:
    cascade, at = Trained(share, burst), 0
    accepted, exposed = Counter[int](), Counter[int]()
    for number, size in enumerate(sizes):
        if number == restart_at and number:
            state = cascade.snapshot("a")
            cascade = Trained(share, burst)
            cascade.restore("a", state)
            paid = [e.call_id for e in events(sum(sizes), 0) if int(e.text) % 3 == 0]
            cascade._ledger.remember(dict.fromkeys(paid, encode(Answer("yes"))))
        outcome = cascade.decide("a", events(size, at))
        at += size
        for decision in outcome.decisions:
            if decision.reason == Reason.ACCEPTED and decision.propensity > 0:
                accepted[QUESTION.labels.index(decision.label)] += 1
        for deferral in outcome.deferrals:
            if deferral.reason == Reason.PAID and deferral.propensity > 0:
                accepted[int(np.argmax(deferral.probabilities))] += 1
            assert bool(deferral.exposed) == (deferral.reason == Reason.AUDIT)
            if deferral.reason == Reason.AUDIT:
                accepted[int(np.argmax(deferral.probabilities))] += 1
            for part in deferral.exposed:
                exposed[part.answer] += part.accepted
    waiting = Trained(share, burst)
    waiting.restore("a", cascade.snapshot("a"))
    for part in waiting._shards["a"].exposed:
        exposed[part.answer] += part.accepted
    assert exposed == accepted


def test_no_audit_could_have_met_what_was_paid_before_anything_was_learned() -> None:
    state = Trained(0.3, 5)
    state.decide("a", events(1, 100))
    cascade = Trained(0.3, 5)
    cascade._release = None
    cascade.restore("a", state.snapshot("a"))
    cascade._ledger.remember({e.call_id: encode(Answer("yes")) for e in events(40, 0)})
    outcome = cascade.decide("a", events(40, 0))
    chances: dict[Reason, set[bool]] = {reason: set() for reason in Reason}
    for deferral in outcome.deferrals:
        chances[deferral.reason].add(deferral.propensity > 0)
    assert (chances[Reason.PAID], chances[Reason.WARMUP]) == ({False}, {True})


@given(left=st.integers(0, 12), seed=st.integers(0, 200))
def test_whether_an_answer_can_be_audited_depends_on_no_coin_of_its_own(
    left: int, seed: int
) -> None:
    """With few calls left, audits end at the event at which the calls do."""
    budget = BudgetSettings(calls=1000 + left, events=10_000, pace=2)
    policy = BudgetedPolicy(SETTINGS, 1, SpendingPlan(budget), seed, AuditChances(0.5, 0.5))
    policy.swap(policy.stage(BudgetedLearner(SETTINGS, 1).tensors([1])))
    usage = Usage(seen=100, deferred=1000, settled=1000, reserved=1000)
    routing = policy.route(chunk([confident(0.9)] * 20), usage)
    taken = 0
    for sent, propensity in zip(routing.sent, routing.propensity, strict=True):
        assert propensity == (0.5 if taken < left else 0.0)
        taken += bool(sent)
    assert taken <= left

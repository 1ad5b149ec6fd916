"""Events that are decided again after a failure keep the answers that were paid before it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from model_store.ledger import Ledger
from operators.core.cascade import Cascade, Outcome, ShardState
from operators.core.paid import PaidAnswers
from operators.core.verdicts import to_lesson
from operators.records import Answer, Event, Reason, Verdict
from operators.settings import TaskSettings
from tests.operators.fakes import (
    DownLedger,
    FakeLevel,
    FakePolicy,
    confident,
    event,
    events,
    memory_ledger,
)

LABELS = ("no", "yes")
QUESTION = TaskSettings(name="moderation", labels=LABELS, prompt="?")
BEGINNING = msgspec.msgpack.encode(ShardState())
ANSWER = msgspec.json.encode(Answer("yes", calls=1))
LOOKS = 1000


def cascade(ledger: Ledger, send: Sequence[Event] = ()) -> Cascade:
    policy = FakePolicy(send=frozenset(sent.id for sent in send))
    return Cascade(QUESTION, [FakeLevel(lambda _: confident(0.9))], policy, ledger)


def answer(ledger: Ledger, outcome: Outcome) -> None:
    ledger.remember({deferral.event.call_id: ANSWER for deferral in outcome.deferrals})


def looking(ledger: Ledger, shard: str = "a") -> PaidAnswers:
    paid = PaidAnswers(ledger, LABELS)
    paid.look_for(shard)
    return paid


@given(
    before=st.sets(st.integers(0, 59)),
    after=st.sets(st.integers(0, 59)),
    failed=st.integers(0, 6),
)
def test_no_answer_is_paid_in_vain(before: set[int], after: set[int], failed: int) -> None:
    """Another release decides after a failure, back from the checkpoint at the beginning."""
    ledger, stream = memory_ledger(), events(60)
    first = cascade(ledger, [stream[i] for i in before])
    for chunk in range(failed):
        answer(ledger, first.decide("a", stream[10 * chunk :][:10]))
    second = cascade(ledger, [stream[i] for i in after])
    second.restore("a", BEGINNING)
    sent = {}
    for chunk in range(6):
        outcome = second.decide("a", stream[10 * chunk :][:10])
        assert len(outcome.decisions) + len(outcome.deferrals) == 10
        sent |= {deferral.event.id: deferral for deferral in outcome.deferrals}
    paid = {i for i in before if i < 10 * failed}
    assert sent.keys() == {stream[i].id for i in paid | after}
    for i in paid | after:
        deferral = sent[stream[i].id]
        assert deferral.reason == (Reason.POLICY if i in after else Reason.PAID)
        assert deferral.propensity == (i in after)  # what the policy would have done
        (annotation,) = to_lesson([Verdict(deferral, Answer("yes"))], LABELS).annotations
        assert annotation.propensity == 1


def test_a_job_that_begins_takes_nothing_from_the_one_before_it() -> None:
    """Its budget is spent on its own events, not charged for what was paid long ago."""
    ledger, stream = memory_ledger(), events(10)
    answer(ledger, cascade(ledger, stream).decide("a", stream))
    ledger.begin()
    begun = cascade(ledger)
    begun.restore("a", None)
    assert not begun.decide("a", stream).deferrals


def test_an_answer_to_another_text_or_of_another_menu_is_none() -> None:
    ledger = memory_ledger()
    ledger.remember({event(1, "another").call_id: ANSWER, event(2).call_id: b"{}"})
    ledger.remember({event(3).call_id: msgspec.json.encode(Answer("maybe"))})
    assert not looking(ledger).among("a", [event(1, "text"), event(2), event(3)]).any()


def test_a_restored_shard_is_looked_after_until_a_long_stretch_has_none() -> None:
    ledger = memory_ledger()
    one = event(0)
    ledger.remember({one.call_id: ANSWER})
    paid = looking(ledger)
    paid.among("a", events(LOOKS - 1, 1))
    assert paid.among("a", [one]).any()
    assert not paid.among("b", [one]).any()
    paid.among("a", events(LOOKS, 1))
    assert not paid.among("a", [one]).any()


def test_without_a_ledger_nothing_is_known_and_nothing_fails() -> None:
    assert not looking(DownLedger()).among("a", events(3)).any()

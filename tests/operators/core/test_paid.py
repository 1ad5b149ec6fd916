"""Events that are decided again after a failure keep the answers that were paid before it."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from model_store.ledger import Ledger
from operators.core.cascade import Cascade, Outcome
from operators.core.paid import PaidAnswers
from operators.records import Event, Reason
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

QUESTION = TaskSettings(name="moderation", labels=("no", "yes"), prompt="?")
LOOKS = 20


def cascade(ledger: Ledger, send: Sequence[Event] = ()) -> Cascade:
    policy = FakePolicy(send=frozenset(sent.id for sent in send))
    return Cascade(QUESTION, [FakeLevel(lambda _: confident(0.9))], policy, ledger)


def answer(ledger: Ledger, outcome: Outcome) -> None:
    ledger.remember({deferral.event.call_id: b"{}" for deferral in outcome.deferrals})


@given(
    before=st.sets(st.integers(0, 59)),
    after=st.sets(st.integers(0, 59)),
    failed=st.integers(0, 5),
)
def test_no_answer_is_paid_in_vain(before: set[int], after: set[int], failed: int) -> None:
    """Another release decides after a failure, back from the checkpoint at the beginning."""
    ledger, stream = memory_ledger(), events(60)
    first = cascade(ledger, [stream[i] for i in before])
    for chunk in range(failed):
        answer(ledger, first.decide("a", stream[10 * chunk :][:10]))
    second = cascade(ledger, [stream[i] for i in after])
    second.restore("a", None)
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
        assert deferral.propensity == 1


def test_the_answer_to_another_text_is_none() -> None:
    ledger = memory_ledger()
    ledger.remember({event(1, "another").call_id: b"{}"})
    assert not PaidAnswers(ledger).among("a", [event(1, "text")]).any()


def test_each_shard_is_looked_after_until_a_row_of_chunks_has_none() -> None:
    ledger = memory_ledger()
    last, late = event(LOOKS), event(2 * LOOKS)
    ledger.remember({one.call_id: b"{}" for one in (last, late)})
    paid = PaidAnswers(ledger)
    found = [bool(paid.among("a", [event(number)]).any()) for number in range(1, 2 * LOOKS + 1)]
    assert found == [number in (LOOKS, 2 * LOOKS) for number in range(1, 2 * LOOKS + 1)]
    for number in range(100, 100 + LOOKS):
        paid.among("a", [event(number)])
    assert not paid.among("a", [last]).any()
    assert paid.among("b", [last]).any()


def test_without_a_ledger_nothing_is_known_and_nothing_fails() -> None:
    assert not PaidAnswers(DownLedger()).among("a", events(3)).any()

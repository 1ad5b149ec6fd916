"""The desk and the budget: never a call more than the cap, and none for nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from operators.expert.port import ExpertBusy, ExpertRefused, Reply
from operators.records import Event
from operators.settings import BreakerSettings, RetrySettings
from tests.operators.expert.desks import OK, ScriptedExpert, Step, answer, down, nobody
from tests.operators.fakes import event, memory_ledger

_STEP = st.sampled_from(
    [
        OK,
        down(),
        nobody(),
        ExpertBusy("rate_limit", retry_after_s=1.0),
        ExpertRefused("nonsense"),
        ExpertRefused("http_400"),
    ]
)


@settings(max_examples=60, deadline=None)
@given(
    scripts=st.lists(st.lists(_STEP, max_size=4), max_size=8),
    calls=st.integers(0, 12),
    attempts=st.integers(1, 4),
    concurrency=st.integers(1, 3),
    failures=st.integers(1, 6),
    rounds=st.integers(1, 2),
)
def test_never_more_calls_than_the_cap(
    scripts: list[list[Step]],
    calls: int,
    attempts: int,
    concurrency: int,
    failures: int,
    rounds: int,
) -> None:
    """Counted as the provider counts: what never reached it, it has not seen."""
    ledger, total = memory_ledger(), 0
    for number in range(rounds):
        events = [event(f"{number}-{i}") for i in range(len(scripts))]
        expert = ScriptedExpert(
            {one.text: script for one, script in zip(events, scripts, strict=True)}
        )
        verdicts = answer(
            expert,
            events,
            ledger=ledger,
            calls=calls,
            retry=RetrySettings(attempts=attempts),
            breaker=BreakerSettings(failures=failures),
            concurrency=concurrency,
        )
        total += expert.received
        assert total <= calls
        assert ledger.usage().reserved == total
        assert sum(verdict.answer.calls for verdict in verdicts) == expert.received
        assert expert.most_flying <= concurrency
        assert [verdict.deferral.event for verdict in verdicts] == events
        for verdict in verdicts:
            assert (verdict.answer.label is None) != (verdict.answer.failure is None)
            assert verdict.answer.calls <= attempts
            if verdict.answer.calls == 0:
                assert verdict.answer.failure in {"budget", "connection", "circuit_open"}


def test_what_the_budget_does_not_pay_is_not_asked() -> None:
    expert = ScriptedExpert()
    verdicts = answer(expert, [event(i) for i in range(5)], calls=2)
    assert [verdict.answer.failure for verdict in verdicts] == [None, None, *["budget"] * 3]
    assert [verdict.answer.calls for verdict in verdicts] == [1, 1, 0, 0, 0]
    assert sorted(expert.calls) == ["0", "1"]


def test_a_retry_that_the_budget_does_not_pay_is_not_made() -> None:
    expert = ScriptedExpert({"1": [down()] * 9})
    (verdict,) = answer(expert, [event(1)], calls=2)
    assert (verdict.answer.failure, verdict.answer.calls) == ("budget", 2)
    assert len(expert.calls) == 2


def test_a_dead_endpoint_costs_nothing_and_is_left_alone() -> None:
    ledger = memory_ledger()
    expert = ScriptedExpert({str(i): [nobody()] * 9 for i in range(40)})
    breaker = BreakerSettings(failures=5, first_open_s=1000, longest_open_s=1000)
    verdicts = answer(
        expert,
        [event(i) for i in range(40)],
        ledger=ledger,
        calls=10,
        breaker=breaker,
        retry=RetrySettings(attempts=1),
    )
    failures = Counter(verdict.answer.failure for verdict in verdicts)
    # No more are tried than were under way when it opened.
    assert 5 <= failures["connection"] == len(expert.calls) < 5 + 4
    assert failures == {
        "connection": len(expert.calls),
        "circuit_open": 10 - len(expert.calls),
        "budget": 30,
    }
    assert sum(verdict.answer.calls for verdict in verdicts) == 0
    usage = ledger.usage()
    assert (usage.reserved, usage.retried, usage.refunded) == (0, 0, 10)
    # All of the budget is there when the endpoint is.
    again = answer(ScriptedExpert(), [event(i) for i in range(40)], ledger=ledger, calls=10)
    assert sum(verdict.answer.label == "ok" for verdict in again) == 10


def test_a_call_that_may_have_arrived_stays_paid() -> None:
    ledger = memory_ledger()
    expert = ScriptedExpert({"1": (down(), nobody(), down())})
    (verdict,) = answer(expert, [event(1)], ledger=ledger)
    assert (verdict.answer.failure, verdict.answer.calls) == ("timeout", 2)
    usage = ledger.usage()
    assert (usage.reserved, usage.retried, usage.refunded) == (2, 1, 0)


def test_a_call_that_was_granted_before_a_failure_is_not_given_back() -> None:
    """It may have been made then."""
    ledger = memory_ledger()
    ledger.reserve([event(1).call_id], None)
    expert = ScriptedExpert({"1": [nobody()] * 9})
    answer(expert, [event(1)], ledger=ledger)
    usage = ledger.usage()
    assert (usage.reserved, usage.refunded) == (1, 0)


@dataclass
class FragileExpert(ScriptedExpert):
    """Gets so many requests before the caller dies with the next one under way."""

    survives: int = 0

    async def ask(self, event: Event) -> Reply:
        if self.received >= self.survives:
            self.received += 1
            raise asyncio.CancelledError
        return await super().ask(event)


@given(
    crashes=st.lists(st.integers(0, 4), max_size=4),
    events=st.integers(1, 6),
    calls=st.integers(0, 12),
)
def test_calls_under_way_in_a_crash_count_and_so_do_those_that_repeat_them(
    crashes: list[int], events: int, calls: int
) -> None:
    """The provider has seen both; only an answer that came back spares the second."""
    ledger, received = memory_ledger(), 0
    for survives in crashes:
        fragile = FragileExpert(survives=survives)
        with contextlib.suppress(asyncio.CancelledError):
            answer(fragile, [event(i) for i in range(events)], ledger=ledger, calls=calls)
        received += fragile.received
    last = ScriptedExpert()
    verdicts = answer(last, [event(i) for i in range(events)], ledger=ledger, calls=calls)
    assert received + last.received <= ledger.usage().reserved <= calls
    assert all(v.answer.label == "ok" or v.answer.failure == "budget" for v in verdicts)

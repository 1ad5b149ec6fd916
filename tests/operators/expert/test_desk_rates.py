"""The desk and a budget that goes by the clock: drawn at its most, corrected by what is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.ledger import Ledger
from model_store.memory_ledger import MemoryLedger
from model_store.window import Window
from operators.expert.port import ExpertError, ExpertRefused, Reply
from operators.records import Event
from operators.settings import BreakerSettings, BudgetSettings, PriceSettings, RetrySettings
from tests.operators.expert.desks import Clock, ScriptedExpert, Step, answer, down, nobody
from tests.operators.fakes import event

TOKENS = BudgetSettings(tokens_per_minute=400)  # a call takes 111 at its most
ONCE = RetrySettings(attempts=1)


def ledger_for(budget: BudgetSettings, clock: Clock | None = None) -> MemoryLedger:
    now = Clock() if clock is None else clock
    return MemoryLedger(ttl_s=1000.0, monotonic=now.monotonic, window=budget.window)


def took(tokens_in: int, tokens_out: int = 1) -> Reply:
    return Reply("ok", tokens_in, tokens_out)


@pytest.mark.parametrize(
    ("step", "drawn"),
    [
        (took(20, 2), 22),
        (took(101, 10), 111),
        (took(0, 0), 111),  # a provider that does not tell
        (ExpertRefused("nonsense", tokens_in=30, tokens_out=10), 40),
        (ExpertRefused("http_400"), 111),
        (down(), 111),  # it may have been answered all the same
        (nobody(), 0),
    ],
)
def test_a_call_draws_what_it_took_if_that_is_told(step: Step, drawn: int) -> None:
    ledger = ledger_for(TOKENS)
    answer(ScriptedExpert({"1": [step]}), [event(1)], ledger=ledger, budget=TOKENS, retry=ONCE)
    assert (ledger.usage().drawn, ledger.usage().spent) == (drawn, drawn)


def test_a_retry_draws_as_well() -> None:
    ledger = ledger_for(TOKENS)
    expert = ScriptedExpert({"1": [down(), took(20, 2)]})
    (verdict,) = answer(expert, [event(1)], ledger=ledger, budget=TOKENS)
    assert verdict.answer.label == "ok"
    assert ledger.usage().drawn == 111 + 22


def test_what_has_no_room_is_not_asked() -> None:
    ledger = ledger_for(TOKENS)
    events = [event(i) for i in range(5)]
    expert = ScriptedExpert({one.text: [took(101, 10)] for one in events})
    verdicts = answer(expert, events, ledger=ledger, budget=TOKENS)
    failures = Counter(verdict.answer.failure for verdict in verdicts)
    assert failures == {None: 3, "budget": 2}
    assert len(expert.calls) == 3
    assert (ledger.usage().refused, ledger.usage().drawn) == (2, 333)


def test_what_calls_did_not_take_is_there_for_others() -> None:
    ledger, expert = ledger_for(TOKENS), ScriptedExpert()
    for number in range(10):
        (verdict,) = answer(expert, [event(number)], ledger=ledger, budget=TOKENS)
        assert verdict.answer.label == "ok"
    assert ledger.usage().drawn == 10 * 12


def test_one_after_the_other_draw_when_it_is_their_turn() -> None:
    """Drawn ahead, they would be made in another hour than the one whose budget paid them."""
    clock = Clock()
    budget = BudgetSettings(per_hour=3)

    class Slow(ScriptedExpert):
        async def ask(self, event: Event) -> Reply:
            reply = await super().ask(event)
            clock.now += 1500
            return reply

    events = [event(i) for i in range(6)]
    ledger = ledger_for(budget, clock)
    verdicts = answer(Slow(), events, ledger=ledger, budget=budget, concurrency=1, clock=clock)
    assert [verdict.answer.label for verdict in verdicts] == ["ok"] * 6


def test_an_answer_that_took_more_than_its_most_counts_and_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger, excess = ledger_for(TOKENS), list[int]()
    expert = ScriptedExpert({"1": [took(500, 5)]})
    answer(expert, [event(1)], ledger=ledger, budget=TOKENS, excess=excess)
    assert ledger.usage().drawn == 505
    assert excess == [1]
    assert "a call drew 505 from the budget, and 111 was the most expected" in caplog.text
    (verdict,) = answer(expert, [event(2)], ledger=ledger, budget=TOKENS, excess=excess)
    assert verdict.answer.failure == "budget"


def test_money_is_drawn_by_the_price() -> None:
    budget = BudgetSettings(usd_per_hour=1)
    price = PriceSettings(input_usd=0.15, output_usd=0.6)
    ledger = ledger_for(budget)
    expert = ScriptedExpert({"1": [took(1000, 1)]})
    (verdict,) = answer(expert, [event(1)], ledger=ledger, budget=budget, price=price)
    assert ledger.usage().drawn == 150_600  # billionths of a dollar
    assert verdict.answer.cost_usd_micros == 151


class Fragile(ScriptedExpert):
    async def ask(self, event: Event) -> Reply:
        self.received += 1
        raise asyncio.CancelledError


def test_a_caller_that_died_leaves_its_most_drawn() -> None:
    ledger = ledger_for(TOKENS)
    with contextlib.suppress(asyncio.CancelledError):
        answer(Fragile(), [event(1)], ledger=ledger, budget=TOKENS)
    assert ledger.usage().drawn == 111
    (verdict,) = answer(ScriptedExpert(), [event(1)], ledger=ledger, budget=TOKENS)
    assert verdict.answer.label == "ok"
    assert ledger.usage().drawn == 111 + 12


_STEP = st.sampled_from(
    [took(90, 9), took(5), took(0, 0), down(), nobody(), ExpertRefused("nonsense", tokens_in=40)]
)


@given(
    scripts=st.lists(st.lists(_STEP, max_size=3), max_size=8),
    limit=st.integers(1, 800),
    attempts=st.integers(1, 3),
    concurrency=st.integers(1, 4),
    failures=st.integers(1, 6),
    crash=st.booleans(),
)
def test_never_more_than_the_limit(
    scripts: list[list[Step]],
    limit: int,
    attempts: int,
    concurrency: int,
    failures: int,
    crash: bool,
) -> None:
    """As the provider counts: all that a call took that reached it, whatever came back."""
    budget = BudgetSettings(tokens_per_minute=limit)
    ledger: Ledger = MemoryLedger(ttl_s=1000.0, monotonic=lambda: 0.0, window=Window(limit, 60))
    if crash:
        with contextlib.suppress(asyncio.CancelledError):
            answer(Fragile(), [event("crash")], ledger=ledger, budget=budget)
    received: list[int] = []

    class Provider(ScriptedExpert):
        async def ask(self, event: Event) -> Reply:
            most = sum(self.most_tokens(event))
            try:
                reply = await super().ask(event)
            except ExpertError as error:
                received.append((error.tokens_in + error.tokens_out or most) * error.reached)
                raise
            received.append(reply.tokens_in + reply.tokens_out or most)
            return reply

    events = [event(i) for i in range(len(scripts))]
    expert = Provider({one.text: script for one, script in zip(events, scripts, strict=True)})
    verdicts = answer(
        expert,
        events,
        ledger=ledger,
        budget=budget,
        retry=RetrySettings(attempts=attempts),
        breaker=BreakerSettings(failures=failures),
        concurrency=concurrency,
    )
    assert sum(received) <= ledger.usage().drawn <= limit
    for verdict in verdicts:
        assert (verdict.answer.label is None) != (verdict.answer.failure is None)

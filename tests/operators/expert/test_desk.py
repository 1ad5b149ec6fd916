"""The desk: paid once, within the cap, and an answer for everything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.ledger import Ledger, MemoryLedger
from operators.budget import SpendingPlan
from operators.expert.desk import ExpertDesk, call_id
from operators.expert.port import ExpertError, ExpertRefused, ExpertUnavailable, Reply
from operators.records import Answer, Deferral, Event, Reason, Verdict
from operators.settings import BudgetSettings, PriceSettings, RetrySettings
from tests.operators.fakes import DownLedger, event, memory_ledger

Step = Reply | ExpertError
OK = Reply("ok", tokens_in=10, tokens_out=2)


@dataclass
class ScriptedExpert:
    """An `Expert` that follows a script for each text, then answers; counts its calls."""

    script: Mapping[str, Sequence[Step]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    flying: int = 0
    most_flying: int = 0

    async def ask(self, event: Event) -> Reply:
        number = self.calls.count(event.text)
        self.calls.append(event.text)
        self.flying += 1
        self.most_flying = max(self.most_flying, self.flying)
        for _ in range(3):  # let the others in
            await asyncio.sleep(0)
        self.flying -= 1
        steps = self.script.get(event.text, ())
        step = steps[number] if number < len(steps) else OK
        if isinstance(step, ExpertError):
            raise step
        return step

    async def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class Clock:
    """Time that passes only while somebody waits."""

    now: float = 0.0
    waits: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


def deferral(one: Event) -> Deferral:
    return Deferral(one, (), (0.5, 0.5), "linear", Reason.POLICY, 1.0, None)


def answer(
    expert: ScriptedExpert,
    events: Sequence[Event],
    *,
    ledger: Ledger | None = None,
    calls: int | None = None,
    retry: RetrySettings | None = None,
    price: PriceSettings | None = None,
    concurrency: int = 4,
    clock: Clock | None = None,
) -> list[Verdict]:
    clock = Clock() if clock is None else clock
    budget = None if calls is None else BudgetSettings(calls=calls, events=100)

    async def run() -> list[Verdict]:
        desk = ExpertDesk(
            expert,
            ("ok", "spam"),
            memory_ledger() if ledger is None else ledger,
            SpendingPlan(budget),
            retry=RetrySettings() if retry is None else retry,
            price=PriceSettings() if price is None else price,
            concurrency=concurrency,
            sleep=clock.sleep,
            monotonic=clock.monotonic,
        )
        return await desk.answer([deferral(one) for one in events])

    return asyncio.run(run())


def down(kind: str = "timeout", after: float | None = None) -> ExpertUnavailable:
    return ExpertUnavailable(kind, retry_after_s=after)


def test_verdicts_come_in_the_order_of_the_deferrals() -> None:
    labels = {f"{i}": (Reply(f"label {i}"),) for i in range(9)}
    events = [event(i) for i in range(9)]
    verdicts = answer(ScriptedExpert(labels), events)
    assert [verdict.deferral.event for verdict in verdicts] == events
    assert [verdict.answer.label for verdict in verdicts] == [f"label {i}" for i in range(9)]
    assert answer(ScriptedExpert(), []) == []


def test_only_what_may_pass_is_tried_again() -> None:
    expert = ScriptedExpert(
        {"1": (down(), down("server_error")), "2": (ExpertRefused("http_401"),)}
    )
    one, two = answer(expert, [event(1), event(2)])
    assert (one.answer.label, one.answer.failure, one.answer.calls) == ("ok", None, 3)
    assert (two.answer.label, two.answer.failure, two.answer.calls) == (None, "http_401", 1)


def test_attempts_end() -> None:
    expert = ScriptedExpert({"1": [down("rate_limit")] * 99})
    (verdict,) = answer(expert, [event(1)], retry=RetrySettings(attempts=4))
    assert (verdict.answer.failure, verdict.answer.calls) == ("rate_limit", 4)
    assert len(expert.calls) == 4


def test_waits_double_with_jitter_and_are_capped() -> None:
    clock = Clock()
    expert = ScriptedExpert({"1": [down()] * 99})
    retry = RetrySettings(attempts=8, first_wait_s=1, longest_wait_s=10)
    answer(expert, [event(1)], retry=retry, clock=clock)
    assert len(clock.waits) == 7
    for number, waited in enumerate(clock.waits):
        assert 0.5 <= waited <= min(10, 0.5 + 2**number / 2)


@pytest.mark.parametrize(
    ("asked", "waited"), [(3.0, 3.0), (0.0, 0.0), (1e9, 20.0), (float("inf"), 20.0)]
)
def test_retry_after_is_honoured_and_capped(asked: float, waited: float) -> None:
    clock = Clock()
    expert = ScriptedExpert({"1": (down("rate_limit", after=asked),)})
    (verdict,) = answer(expert, [event(1)], clock=clock)
    assert clock.waits == [waited]
    assert verdict.answer.latency_ms == pytest.approx(1000 * waited)


def test_money_is_counted_for_every_call() -> None:
    price = PriceSettings(input_usd=2.0, output_usd=10.0)
    nonsense = ExpertRefused("nonsense", tokens_in=100, tokens_out=16)
    expert = ScriptedExpert({"2": (nonsense,)})
    one, two = answer(expert, [event(1), event(2)], price=price)
    assert (one.answer.tokens_in, one.answer.tokens_out) == (10, 2)
    assert one.answer.cost_usd_micros == 2 * 10 + 10 * 2
    assert (two.answer.label, two.answer.failure) == (None, "nonsense")
    assert two.answer.cost_usd_micros == 2 * 100 + 10 * 16


def test_tokens_of_failed_attempts_are_counted_too() -> None:
    cut_off = ExpertUnavailable("timeout", tokens_in=7, tokens_out=1)
    (verdict,) = answer(ScriptedExpert({"1": (cut_off,)}), [event(1)])
    assert (verdict.answer.tokens_in, verdict.answer.tokens_out) == (17, 3)


_STEP = st.sampled_from(
    [OK, down(), down("rate_limit", 1.0), ExpertRefused("nonsense"), ExpertRefused("http_400")]
)


@settings(max_examples=60, deadline=None)
@given(
    scripts=st.lists(st.lists(_STEP, max_size=4), max_size=8),
    calls=st.integers(0, 12),
    attempts=st.integers(1, 4),
    concurrency=st.integers(1, 3),
    rounds=st.integers(1, 2),
)
def test_never_more_calls_than_the_cap(
    scripts: list[list[Step]], calls: int, attempts: int, concurrency: int, rounds: int
) -> None:
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
            concurrency=concurrency,
        )
        total += len(expert.calls)
        assert total <= calls
        assert ledger.usage().reserved == total
        assert sum(verdict.answer.calls for verdict in verdicts) == len(expert.calls)
        assert expert.most_flying <= concurrency
        assert [verdict.deferral.event for verdict in verdicts] == events
        for verdict in verdicts:
            assert (verdict.answer.label is None) != (verdict.answer.failure is None)
            assert verdict.answer.calls <= attempts
            if verdict.answer.calls == 0:
                assert verdict.answer.failure == "budget"


def test_calls_in_flight_are_bounded_and_used() -> None:
    expert = ScriptedExpert()
    answer(expert, [event(i) for i in range(20)], concurrency=3)
    assert expert.most_flying == 3


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


def test_remembered_answers_cost_nothing() -> None:
    ledger = memory_ledger()
    (first,) = answer(ScriptedExpert(), [event(1)], ledger=ledger, calls=1)
    expert = ScriptedExpert()
    again, other = answer(expert, [event(1), event(2)], ledger=ledger, calls=1)
    assert again == first
    assert other.answer.failure == "budget"
    assert expert.calls == []


def test_failures_are_never_remembered() -> None:
    ledger = memory_ledger()
    refused = ScriptedExpert({"1": (ExpertRefused("nonsense"),)})
    assert answer(refused, [event(1)], ledger=ledger)[0].answer.failure == "nonsense"
    assert answer(ScriptedExpert(), [event(1)], ledger=ledger)[0].answer.label == "ok"


def test_an_event_under_an_old_id_with_another_text_is_asked() -> None:
    ledger = memory_ledger()
    answer(ScriptedExpert(), [event(1, "first text")], ledger=ledger)
    expert = ScriptedExpert()
    answer(expert, [event(1, "second text")], ledger=ledger)
    assert expert.calls == ["second text"]


@pytest.mark.parametrize("calls", [None, 2])
def test_the_same_event_twice_in_a_chunk_is_asked_once(calls: int | None) -> None:
    """Both would run under one reservation: a call more than the ledger counts."""
    expert, ledger = ScriptedExpert(), memory_ledger()
    verdicts = answer(expert, [event(1), event(2), event(1)], ledger=ledger, calls=calls)
    assert [verdict.answer.label for verdict in verdicts] == ["ok", "ok", "ok"]
    assert len(expert.calls) == ledger.usage().reserved == 2


def test_without_a_ledger_no_call_is_made() -> None:
    expert = ScriptedExpert()
    verdicts = answer(expert, [event(1), event(2)], ledger=DownLedger())
    assert [v.answer for v in verdicts] == [Answer(None, "ledger_unavailable")] * 2
    assert expert.calls == []


class Failing(MemoryLedger):
    """A ledger of which some calls fail."""

    def __init__(self, fails: Callable[[str, int], bool]) -> None:
        super().__init__(ttl_s=1000, monotonic=lambda: 0.0)
        self._fails = fails
        self._counts: dict[str, int] = {}

    def _check(self, name: str) -> None:
        number = self._counts[name] = self._counts.get(name, 0) + 1
        if self._fails(name, number):
            DownLedger().usage()

    def reserve(
        self, call_ids: Sequence[str], cap: int | None, *, retry: bool = False
    ) -> list[bool]:
        self._check("reserve")
        return super().reserve(call_ids, cap, retry=retry)

    def remember(self, answers: Mapping[str, bytes]) -> None:
        self._check("remember")
        super().remember(answers)

    def recall(self, ids: Sequence[str]) -> dict[str, bytes]:
        self._check("recall")
        return super().recall(ids)


def test_a_ledger_lost_before_a_retry_ends_the_attempts() -> None:
    expert = ScriptedExpert({"1": [down()] * 9})
    ledger = Failing(lambda name, number: name == "reserve" and number > 1)
    (verdict,) = answer(expert, [event(1)], ledger=ledger)
    assert (verdict.answer.failure, verdict.answer.calls) == ("ledger_unavailable", 1)
    assert len(expert.calls) == 1


@pytest.mark.parametrize("broken", ["recall", "remember"])
def test_a_memory_that_fails_costs_at_most_another_call(broken: str) -> None:
    ledger = Failing(lambda name, _: name == broken)
    assert answer(ScriptedExpert(), [event(1)], ledger=ledger)[0].answer.label == "ok"
    assert answer(ScriptedExpert(), [event(1)], ledger=ledger)[0].answer.label == "ok"


@pytest.mark.parametrize("data", [b"", b"\x80", b"[]", b'{"label": 5}'])
def test_a_remembered_answer_that_is_none_is_asked_again(data: bytes) -> None:
    """What others wrote into the store must not fail the job until it expires."""
    ledger, expert = memory_ledger(), ScriptedExpert()
    ledger.remember({call_id(event(1)): data})
    (verdict,) = answer(expert, [event(1)], ledger=ledger)
    assert verdict.answer.label == "ok"
    assert expert.calls == ["1"]


@given(id_1=st.text(), text_1=st.text(), id_2=st.text(), text_2=st.text())
def test_calls_of_different_events_have_different_names(
    id_1: str, text_1: str, id_2: str, text_2: str
) -> None:
    one, two = event(id_1, text_1), event(id_2, text_2)
    assert (call_id(one) == call_id(two)) == (one == two)
    # Nor does a name ever stand for another event's second attempt.
    assert f"{call_id(one)}#2" != call_id(two)


def test_a_name_does_not_show_the_text() -> None:
    assert "secret" not in call_id(event(1, "secret"))


def test_an_event_that_failed_and_comes_again_pays_again() -> None:
    ledger = memory_ledger()
    for _ in range(3):
        expert = ScriptedExpert({"1": (down(), ExpertRefused("nonsense"))})
        answer(expert, [event(1)], ledger=ledger, calls=5)
    usage = ledger.usage()
    assert (usage.reserved, usage.retried) == (5, 2)


def test_an_answer_remembered_from_other_labels_is_asked_again() -> None:
    ledger = memory_ledger()
    ledger.remember({call_id(event(1)): b'{"label": "gone", "calls": 1}'})
    (verdict,) = answer(ScriptedExpert(), [event(1)], ledger=ledger)
    assert verdict.answer.label == "ok"

"""The desk: an answer for everything, tried again where that may help."""

from __future__ import annotations

import pytest

from operators.expert.port import ExpertRefused, ExpertUnavailable, Reply
from operators.settings import PriceSettings, RetrySettings
from tests.operators.expert.desks import Clock, ScriptedExpert, answer, down
from tests.operators.fakes import event


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


def test_calls_in_flight_are_bounded_and_used() -> None:
    expert = ScriptedExpert()
    answer(expert, [event(i) for i in range(20)], concurrency=3)
    assert expert.most_flying == 3

"""An LLM that is down, flaps, answers nonsense, and is slow, one after the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.chaos.row import Row
from benchmarks.chaos.stage import Play, Stage
from flink_job.demo.endpoint import EndpointSettings
from operators.expert.failures import Failure

pytestmark = pytest.mark.flink
FAST = EndpointSettings(latency_ms_median=30)


def test_an_llm_of_any_kind_of_trouble_holds_up_nobody_and_is_asked_again(
    perform: Callable[..., Row], play: Callable[..., Play], redis_url: str
) -> None:
    failures: set[str | None] = set()

    def happen(stage: Stage) -> None:
        def refused_by(*kinds: Failure) -> bool:
            failures.update(decision.failure for decision in stage.decisions())
            return bool(failures.intersection(kinds))

        def ask() -> None:
            before = stage.expert.received
            stage.feed(100)
            stage.until(lambda: stage.expert.received >= before + 5, "calls")

        ask()
        for _ in range(2):
            stage.expert.down()
            stage.feed(100)
            stage.until(lambda: refused_by(Failure.CONNECTION, Failure.CIRCUIT_OPEN), "a refusal")
            failures.clear()
            stage.expert.up()
            ask()
        stage.expert.behave(failure_rate=1.0, failure_kinds=("nonsense",))
        stage.feed(200)
        stage.until(lambda: refused_by(Failure.NONSENSE), "nonsense")
        stage.expert.behave(failure_rate=0.0, latency_ms_median=1500, latency_sigma=1.0)
        before = len(stage.decisions())
        ask()
        stage.until(lambda: len(stage.decisions()) > before, "decisions beside slow calls")

    expert = {
        "timeout_s": 60,
        "retry": {"attempts": 2, "first_wait_s": 0.1},
        "breaker": {"failures": 3, "first_open_s": 0.2, "longest_open_s": 0.5},
    }
    row = perform(play(endpoint=FAST, changes={"expert": expert}), redis_url, happen)
    assert (row.events, row.decisions, row.lost, row.doubled) == (800, 800, 0, 0)
    assert row.degraded > 0
    assert row.calls <= row.budget

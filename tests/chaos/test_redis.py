"""A Redis that dies under a job, and comes back with its data, and without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.chaos.row import Row
from benchmarks.chaos.servers import RestartableRedis
from benchmarks.chaos.stage import Play, Stage
from flink_job.demo.endpoint import EndpointSettings
from operators.expert.failures import Failure

pytestmark = pytest.mark.flink
CALLS, EVENTS = 200, 1200


def test_a_redis_that_dies_costs_answers_and_never_the_budget(
    perform: Callable[..., Row], play: Callable[..., Play], tmp_path: Path
) -> None:
    refused: list[int] = []

    def happen(stage: Stage) -> None:
        def unanswered() -> int:
            return sum(d.failure == Failure.LEDGER_UNAVAILABLE for d in stage.decisions())

        for number, empty in enumerate((False, True), start=1):
            stage.feed(200)
            stage.until_asking(5)
            redis.kill()
            stage.feed(200)
            stage.until(lambda: unanswered() >= number, "answers without a ledger")  # noqa: B023  # waits
            redis.start(empty=empty)
            refused.append(unanswered())
            stage.feed(100)
            stage.until_asking(5)  # it is asked again
        stage.feed(200)

    budget = {"calls": CALLS, "events": EVENTS}
    endpoint = EndpointSettings(latency_ms_median=100)
    with RestartableRedis(tmp_path) as redis:
        row = perform(play(budget=budget, endpoint=endpoint), redis.url, happen)
    assert (row.events, row.decisions, row.lost, row.doubled) == (EVENTS, EVENTS, 0, 0)
    assert len(refused) == 2
    assert 0 < row.calls <= row.budget == CALLS

"""Processes of a cluster that die while calls are under way: counted at both ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos.on_cluster import on_cluster
from benchmarks.chaos.stage import Play, staged
from flink_job.demo.endpoint import EndpointSettings
from flink_job.standalone import StandaloneCluster

pytestmark = [pytest.mark.flink, pytest.mark.cluster]
TASK_MANAGERS, EVENTS, CALLS = 2, 900, 260
PLAY = Play(
    "kills",
    posts=EVENTS,
    endpoint=EndpointSettings(latency_ms_median=400, latency_sigma=0.5),
    budget={"calls": CALLS, "events": EVENTS},
    changes={"flink": {"parallelism": 4}},
)


def test_each_event_is_decided_once_and_the_budget_holds_whoever_dies(
    cluster: StandaloneCluster, redis_url: str, tmp_path: Path
) -> None:
    with staged(PLAY, tmp_path, redis_url) as stage:
        with on_cluster(stage, cluster, TASK_MANAGERS) as job:
            stage.feed(300)
            stage.until_asking(20)
            job.kill_task_manager(0)
            stage.feed(300)
            stage.until_moving()
            stage.until_asking(20)
            job.kill_job_manager()
            stage.feed(300)
        row = stage.row()
    assert (row.events, row.decisions, row.lost, row.doubled) == (EVENTS, EVENTS, 0, 0)
    assert 100 < row.calls <= row.budget == CALLS
    # Who was not paid for got an answer all the same.
    assert row.degraded + row.calls >= row.deferred > 100

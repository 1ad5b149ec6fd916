"""A stage's job in the mini cluster, while something happens to what it needs."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.chaos.row import Row
from benchmarks.chaos.stage import Play, Stage, staged
from flink_job.run import Stopped, run
from flink_job.settings import load_job
from tests.chaos.beside import beside

Perform = Callable[..., Row]


@pytest.fixture
def perform(tmp_path: Path) -> Perform:
    """Runs a play while something happens, and counts both ends."""

    def go(play: Play, redis_url: str, happen: Callable[[Stage], None]) -> Row:
        with staged(play, tmp_path / "stage", redis_url) as stage:

            def act() -> None:
                happen(stage)
                stage.until_done()

            with beside(act) as look:
                assert isinstance(run(load_job(stage.job_file), "chaos", look), Stopped)
            return stage.row()

    return go


@pytest.fixture
def play() -> Callable[..., Play]:
    """Makes plays; workers in this process know the variables of the first job's JVM, so each has
    its own.
    """

    def make(**changes: Any) -> Play:
        flink = {"shards": 8, "checkpoint_interval_s": 0.5, "parallelism": 2}
        sections = {"flink": flink, **changes.pop("changes", {})}
        url_env = f"CHAOS_REDIS_{uuid.uuid4().hex}"
        return Play("short", posts=1200, changes=sections, url_env=url_env, **changes)

    return make

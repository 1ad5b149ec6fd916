from __future__ import annotations

import io

import pytest
from rich.console import Console

from flink_job.cli.progress import LiveProgress
from flink_job.run import Progress
from flink_job.settings import JobSettings
from model_store.ledger import Usage

USAGE = Usage(seen=40, deferred=9, settled=7, reserved=8)


@pytest.fixture
def job() -> JobSettings:
    return JobSettings.model_validate(
        {
            "task": {"name": "t", "labels": ["a", "b"], "prompt": "p"},
            "source": {"path": "in.csv"},
            "sink": {"path": "out"},
            "expert": {"kind": "recorded", "column": "expert"},
            "budget": {"calls": 20},
        }
    )


def shown(job: JobSettings, *steps: Progress) -> list[str]:
    """The lines that are left on a terminal that shows no live bar."""
    file = io.StringIO()
    with LiveProgress(Console(file=file, width=200), job) as live:
        for step in steps:
            live.show(step)
    return file.getvalue().splitlines()


def test_counts_are_shown(job: JobSettings) -> None:
    (line,) = shown(job, Progress(100, USAGE, "r000001-a"))
    assert "40 events, 8 of 20 LLM calls, release r000001-a" in line


def test_a_store_that_dies_and_comes_back_is_one_line_each(job: JobSettings) -> None:
    down = [Progress(100, None, None, trouble=f"refused [x] {i}") for i in range(3)]
    lines = shown(job, Progress(100, USAGE, None), *down, Progress(100, USAGE, None), *down[:1])
    said = [line for line in lines if "store" in line]
    assert said == [
        "the store is out of reach, the job goes on without: refused [x] 0",
        "the store is back",
        "the store is out of reach, the job goes on without: refused [x] 0",
    ]
    assert "40 events" in lines[-1]  # the last that is known


def test_a_stop_is_said_when_it_begins_and_when_it_changes(job: JobSettings) -> None:
    steps = [
        Progress(None, None, None),
        *[Progress(None, USAGE, None, stopping="stopping, a savepoint is being written ...")] * 3,
        Progress(None, USAGE, None, stopping="trying again"),
    ]
    lines = shown(job, *steps)
    assert lines[:2] == ["stopping, a savepoint is being written ...", "trying again"]

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flink_job.cli import app, demo
from flink_job.demo import scenario
from flink_job.evaluation import evaluate
from flink_job.outcome import Outcome
from flink_job.run import Stopped
from flink_job.settings import JobSettings, SettingsError
from operators.assembly import build_desk
from tests.flink_job.sources.fakes import EagerLedger


def cli(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, ["demo", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_posts(tmp_path: Path) -> None:
    path = tmp_path / "posts.jsonl"
    assert cli("posts", "--out", path, "--count", "100", "--seed", "3").exit_code == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 100
    assert lines[0]["id"] == "3-0000000"


def test_posts_that_can_not_be_written(tmp_path: Path) -> None:
    result = cli("posts", "--out", tmp_path / "none" / "posts.jsonl")
    assert result.exit_code == 2
    assert "No such file or directory" in result.output


@pytest.mark.parametrize(
    "arguments",
    [["posts", "--count", "1"], ["run", "--failure-rate", "2"], ["run", "--seed", "-1"]],
)
def test_numbers_out_of_range(arguments: list[str]) -> None:
    result = cli(*arguments)
    assert result.exit_code == 2
    assert "Invalid value" in result.output


@pytest.mark.parametrize(
    ("data", "says"),
    [(None, "No such file"), ("{}\n", "answers.jsonl:1 is no post with an answer. Operator")],
)
def test_an_endpoint_without_answers(tmp_path: Path, data: str | None, says: str) -> None:
    path = tmp_path / "answers.jsonl"
    if data is not None:
        path.write_text(data)
    result = cli("endpoint", path)
    assert result.exit_code == 2
    assert says in result.output


def test_an_endpoint_on_a_port_that_can_not_be_had(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"text": "a", "expert": "ok"}\n')
    result = cli("endpoint", path, "--host", "203.0.113.1")  # an address of no machine
    assert result.exit_code == 2
    assert "error:" in result.output


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    result = cli("run", "--out", tmp_path)
    assert result.exit_code == 2
    assert "holds 'thesis.tex', which is not the demo's" in result.output


def test_the_demo_runs_its_job_against_its_endpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[JobSettings] = []

    def run_job(
        job: JobSettings, run_id: str, progress: object, count_calls: Callable[[], int]
    ) -> Outcome:
        jobs.append(job)
        build_desk(job.for_stream_of(100), EagerLedger())  # the key is there
        assert count_calls() == 0
        evaluation = evaluate(
            [], [], job.task, ["linear", "expert"], calls=0, events_in=0, dead_letters=1, wall_s=1.0
        )
        return Outcome(evaluation, job.sink.path / "report.html")

    monkeypatch.setattr(demo, "run_job", run_job)
    result = cli("run", "--out", tmp_path / "demo", "--count", "100", "--failure-rate", "0")
    assert result.exit_code == 0
    assert scenario.API_KEY not in result.output
    (job,) = jobs
    assert job.budget is not None
    assert job.budget.calls == 20
    assert job.source.path == tmp_path / "demo" / "posts.jsonl"


def test_a_demo_that_is_stopped_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "run_job", lambda *_: Stopped("file:/s"))
    result = cli("run", "--out", tmp_path / "demo", "--count", "100")
    assert result.exit_code == 1
    assert "stopped; run it again for the whole of it" in result.output


def test_a_demo_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_job(*_: Any) -> None:
        raise SettingsError("no Java")

    monkeypatch.setattr(demo, "run_job", run_job)
    result = cli("run", "--out", tmp_path / "demo", "--count", "100")
    assert result.exit_code == 2
    assert "error: no Java" in result.output

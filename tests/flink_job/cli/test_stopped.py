"""What the command line says when a run is stopped, and takes to go on with it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flink_job.cli import app, main
from flink_job.run import Stopped

Content = dict[str, Any]
Write = Callable[[Any], Path]
USER_ERROR = 2


def stopped(savepoint: str | None, seen: list[dict[str, Any]] | None = None) -> Any:
    def run(job: object, run_id: str, on_progress: object, **named: Any) -> Stopped:
        if seen is not None:
            seen.append({"run_id": run_id, **named})
        return Stopped(savepoint)

    return run


def watching(content: Content, tmp_path: Path) -> Content:
    source = content["source"] | {"path": str(tmp_path), "watch": True}
    return content | {
        "source": source,
        "budget": {"share": 0.1},
        "store": {"kind": "redis", "url": "redis://localhost"},
    }


def test_the_command_that_is_printed_goes_on(
    content: Content, write_job: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(main, "run_job", stopped("file:/kept/a b/savepoint-1", seen))
    job = write_job(watching(content, tmp_path))
    result = CliRunner().invoke(app, ["run", str(job)])
    assert result.exit_code == 0
    command = shlex.split(result.output.partition("go on with:\n")[2])
    assert command[:2] == ["flink-cascade", "run"]
    assert CliRunner().invoke(app, command[1:]).exit_code == 0
    assert seen[1] == {
        "run_id": seen[0]["run_id"],
        "from_savepoint": "/kept/a b/savepoint-1",
    }  # a name


@pytest.mark.parametrize(
    ("savepoint", "says"),
    [("file:/s", "its embedded store is gone"), (None, "stopped before it began")],
)
def test_a_bounded_run_that_is_stopped_is_not_done(
    content: Content,
    write_job: Write,
    monkeypatch: pytest.MonkeyPatch,
    savepoint: str | None,
    says: str,
) -> None:
    monkeypatch.setattr(main, "run_job", stopped(savepoint))
    result = CliRunner().invoke(app, ["run", str(write_job(content))])
    assert result.exit_code == 1
    assert says in result.output.replace("Its", "its")
    assert "--from-savepoint" not in result.output


def test_a_savepoint_wants_its_runs_name(
    posts: Path, content: Content, write_job: Write, tmp_path: Path
) -> None:
    job = str(write_job(content))
    result = CliRunner().invoke(app, ["run", job, "--from-savepoint", "s"])
    assert result.exit_code == USER_ERROR
    assert "--from-savepoint needs --cascade-run-id" in result.output
    arguments = ["run", job, "--from-savepoint", "s", "--cascade-run-id", "r"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == USER_ERROR
    assert "--from-savepoint: an embedded store ends with its run" in result.output
    content["store"] = {"kind": "redis", "url": "redis://localhost"}
    result = CliRunner().invoke(app, [arguments[0], str(write_job(content)), *arguments[2:]])
    assert result.exit_code == USER_ERROR
    assert "there is no savepoint in s" in result.output

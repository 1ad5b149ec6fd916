from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flink_job.cli import app

Write = Callable[[Any], Path]
BAD = 2


def doctor(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, ["doctor", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_machine_that_is_in_order() -> None:
    result = doctor()
    assert result.exit_code == 0, result.output
    for what in ("java: ", "flink: ", "packages: ", "constraints: ", "onnxruntime: "):
        assert what in result.output


def test_with_a_job_its_services_are_looked_at(
    posts: Path, write_job: Write, content: dict[str, Any]
) -> None:
    result = doctor(write_job(content))
    assert result.exit_code == 0, result.output
    assert "redis: embedded" in result.output
    assert "expert: recorded answers" in result.output


def test_what_is_bad_comes_with_its_fix_and_a_status(
    write_job: Write, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    monkeypatch.setenv("TEST_DOCTOR_REDIS_URL", "redis://:hunter2@127.0.0.1:1")
    content["store"] = {"kind": "redis", "url_env": "TEST_DOCTOR_REDIS_URL"}
    result = doctor(write_job(content))
    assert result.exit_code == BAD
    assert "bad     java: JAVA_HOME is /nowhere" in result.output
    assert "-> apt install" in result.output
    assert "bad     redis: " in result.output
    assert "hunter2" not in result.output


def test_a_job_that_can_not_be_read(tmp_path: Path) -> None:
    result = doctor(tmp_path / "none.yaml")
    assert result.exit_code == BAD
    assert "can not be read" in result.output

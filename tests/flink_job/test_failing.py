"""What is said of a job that Flink gave up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flink_job.failing import explain
from flink_job.settings import JobSettings

Content = dict[str, Any]
FULL = "java.io.IOException: No space left on device"


def checkpoint(sink: Path, name: str, time_s: int) -> None:
    metadata = sink / "checkpoints" / name / "_metadata"
    metadata.parent.mkdir(parents=True)
    metadata.touch()
    os.utime(metadata, (time_s, time_s))


def settings(content: Content, tmp_path: Path, **store: str) -> JobSettings:
    changes = {"sink": {"path": str(tmp_path / "out")}, "store": {"kind": "redis", **store}}
    return JobSettings.model_validate(content | changes)


def test_a_full_disk_is_named_with_the_way_to_go_on(content: Content, tmp_path: Path) -> None:
    job = settings(content, tmp_path)
    checkpoint(tmp_path / "out", "a/chk-9", 1000)
    checkpoint(tmp_path / "out", "b/chk-2", 2000)
    (tmp_path / "out" / "checkpoints" / "b" / "chk-3").mkdir()  # never completed
    said = explain(FULL, job, "r7")
    assert said.startswith(f"{FULL}. Operator action: make room on the disk of {tmp_path / 'out'}")
    last = tmp_path / "out" / "checkpoints" / "b" / "chk-2"
    assert f"--cascade-run-id r7 --from-savepoint {last}" in said


def test_what_is_not_known_is_in_the_logs(content: Content, tmp_path: Path) -> None:
    said = explain("ValueError: oh.", settings(content, tmp_path), "r")
    logs = tmp_path / "out" / "logs"
    assert said == f"ValueError: oh. Operator action: see the logs in {logs}."


def test_an_embedded_store_is_gone_and_nothing_goes_on(content: Content, tmp_path: Path) -> None:
    job = settings(content, tmp_path, kind="embedded")
    checkpoint(tmp_path / "out", "a/chk-1", 1)
    assert "--from-savepoint" not in explain(FULL, job, "r")

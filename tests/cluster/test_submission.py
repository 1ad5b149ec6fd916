"""A job that is sent to a cluster, stopped, and goes on with more subtasks, and with fewer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flink_job import job as script
from flink_job.cli import app
from flink_job.connecting import connection
from flink_job.demo.posts import Post, generate
from flink_job.evaluation import read_decisions
from flink_job.settings import JobSettings, load_job
from flink_job.standalone import StandaloneCluster
from flink_job.submission import flink_home
from model_store.ledger import Usage

pytestmark = [pytest.mark.flink, pytest.mark.cluster]
RUN = "rescaled"
POSTS = list(generate(900, 7))


def command_line(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


def submit(job: Path, cluster: StandaloneCluster, savepoint: str | None = None) -> str:
    said = command_line(
        "submit",
        str(job),
        *("--jobmanager", cluster.address, "--cascade-run-id", RUN),
        *(("--from-savepoint", savepoint) if savepoint else ()),
    )
    found = re.search(r"job ([0-9a-f]{32})", said)
    assert found is not None
    return found[1]


def flink_run(job: Path, cluster: StandaloneCluster, savepoint: str) -> str:
    """By Flink's own client, as its manual has it."""
    options = ["--detached", "--jobmanager", cluster.address, "--fromSavepoint", savepoint]
    options += ["-pyexec", sys.executable, "-pyclientexec", sys.executable]
    own = ["--cascade-job", str(job), "--cascade-run-id", RUN]
    said = subprocess.run(  # noqa: S603  # Flink's own client
        [str(flink_home() / "bin" / "flink"), "run", *options, "-py", script.__file__, *own],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "FLINK_LOG_DIR": str(cluster.logs)},
    ).stdout
    found = re.search(r"JobID ([0-9a-f]{32})", said)
    assert found is not None, said
    return found[1]


def stop(job_id: str, cluster: StandaloneCluster, folder: Path) -> str:
    said = command_line(
        "stop", job_id, "--jobmanager", cluster.address, "--savepoints", str(folder)
    )
    return said.split("--from-savepoint")[1].strip()


def usage(job: JobSettings) -> Usage:
    return connection(job, RUN).ledger().usage()


def annotations(job: JobSettings) -> list[int]:
    """What the trainer had learned from, at each of its releases."""
    lines = [
        json.loads(line)
        for path in (job.sink.path / "releases").rglob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return [line["annotations"] for line in sorted(lines, key=lambda line: line["release"])]


def test_a_job_is_stopped_and_restored_with_more_and_with_fewer_subtasks(
    cluster: StandaloneCluster,
    write_job: Callable[..., Path],
    drop: Callable[[str, list[Post]], None],
    until: Callable[[Callable[[], bool]], None],
    tmp_path: Path,
) -> None:
    two, four = {"flink": {"parallelism": 2}}, {"flink": {"parallelism": 4}}
    path = write_job(**two)
    job = load_job(path)

    def all_done(events: int) -> bool:
        counts = usage(job)
        return counts.seen == events and counts.settled == counts.deferred

    drop("a.jsonl", POSTS[:600])
    first = submit(path, cluster)
    until(lambda: usage(job).seen >= 200)  # in the middle of the file
    savepoint = stop(first, cluster, tmp_path / "savepoints")
    before = usage(job)
    assert 200 <= before.seen < 600
    learned = annotations(job)

    second = flink_run(write_job(**four), cluster, savepoint)
    drop("b.jsonl", POSTS[600:800])
    until(lambda: all_done(800))
    savepoint = stop(second, cluster, tmp_path / "savepoints")

    third = submit(write_job(**two), cluster, savepoint)
    drop("c.jsonl", POSTS[800:])
    until(lambda: all_done(900))
    stop(third, cluster, tmp_path / "savepoints")

    # Nothing was read, decided or counted twice, and nothing was left out.
    decisions = read_decisions(job.sink.path / "decisions")
    assert Counter(d.id for d in decisions) == Counter(p.id for p in POSTS)
    asked = sum(d.level == "expert" for d in decisions)
    refused = sum(d.failure == "budget" for d in decisions)  # two may want the last call at once
    assert asked + refused == usage(job).deferred
    assert asked <= usage(job).reserved <= 100 + 0.2 * 900
    # The trainer went on learning with what it knew, and its releases went on being used.
    assert annotations(job)[: len(learned)] == learned
    assert annotations(job) == sorted(annotations(job))
    assert annotations(job)[-1] > learned[-1]
    assert len({d.release for d in decisions}) >= 3

"""A real cluster: Flink's own scripts, one JobManager, two TaskManagers with two slots each."""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.chaos.stage import KEY_ENV, URL_ENV
from flink_job.demo.posts import LABELS, Post
from flink_job.standalone import StandaloneCluster

_PATIENCE_S = 300.0


@pytest.fixture(scope="session")
def cluster(
    redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StandaloneCluster]:
    """A cluster whose TaskManagers know the way to the tests' Redis."""
    with StandaloneCluster(
        tmp_path_factory.mktemp("cluster"), environment={URL_ENV: redis_url, KEY_ENV: "sk-chaos"}
    ) as running:
        yield running


@pytest.fixture
def write_job(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Writes the YAML of a job that watches `tmp_path/in`; all of a test share sink and store."""
    monkeypatch.setenv(URL_ENV, redis_url)
    (tmp_path / "in").mkdir()
    namespace = f"test-{uuid.uuid4().hex[:8]}"

    def write(**changes: Any) -> Path:
        content: dict[str, Any] = {
            "task": {"name": "moderation", "labels": list(LABELS), "prompt": "Is it abusive?"},
            "source": {"path": "in", "watch": True, "block": 50},
            "sink": {"path": "out"},
            "store": {"kind": "redis", "namespace": namespace},
            "levels": [{"kind": "linear", "features": {"bits": 14}}],
            "expert": {"kind": "recorded", "column": "expert"},
            "budget": {"share": 0.2, "burst": 100},
            "flink": {"shards": 16, "checkpoint_interval_s": 1},
        }
        for section, change in changes.items():
            content[section] = {**content[section], **change}
        path = tmp_path / "job.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    return write


@pytest.fixture
def drop(tmp_path: Path) -> Callable[[str, list[Post]], None]:
    """Moves a file of posts into the watched folder."""

    def into(name: str, posts: list[Post]) -> None:
        lines = [json.dumps({"id": p.id, "text": p.text, "expert": p.expert}) for p in posts]
        part = tmp_path / "in" / f".{name}"
        part.write_text("\n".join(lines), encoding="utf-8")
        part.rename(part.with_name(name))

    return into


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Waits for something to become true; a cluster on a busy machine takes its time."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.1)

    return wait


@pytest.fixture(scope="session")
def python() -> str:
    """The interpreter of client and workers."""
    return sys.executable

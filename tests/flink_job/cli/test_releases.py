from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from flink_job.cli import app, releases
from model_store.redis_backend import RedisBackend
from model_store.store import ModelStore

pytestmark = pytest.mark.redis
Content = dict[str, Any]
Write = Callable[[Any], Path]
URL_ENV = "TEST_CASCADE_REDIS_URL"


def cli(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, ["releases", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "_console", Console(width=160))


@pytest.fixture
def store(redis_url: str, namespace: str) -> Iterator[ModelStore]:
    times = iter(datetime(2026, 1, 5, tzinfo=UTC) + timedelta(hours=n) for n in range(9))
    with closing(RedisBackend(redis_url, namespace)) as backend:
        yield ModelStore(backend, now=lambda: next(times))


@pytest.fixture
def job(
    content: Content,
    write_job: Write,
    redis_url: str,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    monkeypatch.setenv(URL_ENV, redis_url)
    content["store"] = {"kind": "redis", "url_env": URL_ENV, "namespace": namespace}
    return write_job(content)


def publish(
    store: ModelStore,
    annotations: int | str,
    parent: str | None = None,
    rejected: str | None = None,
) -> str:
    weights = {"w": np.full(1 << 18, len(str(annotations)), np.float32)}
    stats = {"annotations": annotations}
    manifest = store.publish("moderation", weights, parent=parent, stats=stats, rejected=rejected)
    return manifest.release


def test_a_store_without_releases(job: Path) -> None:
    result = cli("list", job)
    assert result.exit_code == 0
    assert "release" in result.output


def test_releases_are_listed_newest_first_with_their_status(job: Path, store: ModelStore) -> None:
    first = publish(store, 16)
    second = publish(store, 320, first)
    third = publish(store, 337, second, rejected="worse")
    store.rollback("moderation", first)
    rows = [line.split("│")[1:-1] for line in cli("list", job).output.splitlines() if "│" in line]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert cells == [
        ["rejected", third, "2026-01-05 02:00:00", second, "337", "1.0"],
        ["promoted", second, "2026-01-05 01:00:00", first, "320", "1.0"],
        ["head", first, "2026-01-05 00:00:00", "", "16", "1.0"],
    ]


def test_a_narrow_terminal_cuts_no_release(
    job: Path, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(store, 16)
    second = publish(store, 320, first)
    monkeypatch.setattr(releases, "_console", Console(width=80))
    output = cli("list", job).output
    assert first in output
    assert second in output
    assert max(map(len, output.splitlines())) <= 80


def test_what_a_store_holds_is_no_markup(job: Path, store: ModelStore) -> None:
    publish(store, "[red]x[/nonsense]")
    assert "[red]x[/nonsense]" in cli("list", job).output


def test_show(job: Path, store: ModelStore) -> None:
    release = publish(store, 16)
    result = cli("show", job, release)
    assert result.exit_code == 0
    shown = json.loads(result.output)
    assert shown["release"] == release
    assert shown["stats"] == {"annotations": 16}
    assert shown["tensors"]["w"]["shape"] == [1 << 18]


def test_rollback(job: Path, store: ModelStore) -> None:
    first = publish(store, 16)
    publish(store, 320, first)
    result = cli("rollback", job, first)
    assert result.exit_code == 0
    assert f"the head of moderation is {first}" in result.output
    assert store.head("moderation") == first


def test_a_rejected_release_says_why_and_needs_a_flag(job: Path, store: ModelStore) -> None:
    first = publish(store, 16)
    second = publish(store, 320, first, rejected="worse by 0.1, the margin is 0.02")
    assert json.loads(cli("show", job, second).output)["rejected"].startswith("worse by 0.1")
    refused = cli("rollback", job, second)
    assert refused.exit_code == 2
    assert "was rejected: worse by 0.1, the margin is 0.02." in refused.output
    assert "--rejected" in refused.output
    assert store.head("moderation") == first
    assert cli("rollback", job, second, "--rejected").exit_code == 0
    assert store.head("moderation") == second


@pytest.mark.parametrize("command", ["show", "rollback"])
@pytest.mark.parametrize("release", ["r000009-1a2b3c4d5e6f", "latest", "../x", "[bold]"])
def test_a_release_that_is_not_there(
    job: Path, store: ModelStore, command: str, release: str
) -> None:
    head = publish(store, 16)
    result = cli(command, job, release)
    assert result.exit_code == 2
    assert release in result.output
    assert "Operator action:" in result.output
    assert store.head("moderation") == head


COMMANDS = [["list"], ["show", "r000001-1a2b3c4d5e6f"], ["rollback", "r000001-1a2b3c4d5e6f"]]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_embedded_store_keeps_no_releases(
    content: Content, write_job: Write, command: list[str]
) -> None:
    result = cli(command[0], write_job(content), *command[1:])
    assert result.exit_code == 2
    assert "an embedded store ends with its run" in result.output
    assert "Operator action: use `store: {kind: redis}`" in result.output


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", f"{URL_ENV} is not set"),
        ("redis://:hunter2@127.0.0.1:1", "redis://127.0.0.1:1 is unavailable"),
        ("http://:hunter2@127.0.0.1", "cannot be used"),
    ],
)
def test_a_store_that_is_out_of_reach(
    job: Path, command: list[str], url: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL_ENV, url)
    result = cli(command[0], job, *command[1:])
    assert result.exit_code == 2
    assert says in result.output
    assert "hunter2" not in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_settings(tmp_path: Path, command: list[str]) -> None:
    result = cli(command[0], tmp_path / "none.yaml", *command[1:])
    assert result.exit_code == 2
    assert "No such file" in result.output


def test_a_password_that_is_wrong_is_not_shown(
    job: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = redis_url.split("@")[0].rsplit(":", 1)[1]
    monkeypatch.setenv(URL_ENV, redis_url.replace(password, "hunter2"))
    result = cli("list", job)
    assert result.exit_code == 2
    assert "is unavailable" in result.output
    assert "hunter2" not in result.output
    assert password not in result.output

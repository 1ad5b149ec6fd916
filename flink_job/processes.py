"""Processes of this machine: which are there, whose they are, and how they are ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_POLL_S = 0.1


def with_variable(name: str, value: str) -> list[int]:
    """Ids of the processes that were started with a variable of that value.

    Unlike an id that was noted earlier, which may belong to another process by now, this is never
    wrong about whose a process is.
    """
    wanted = f"{name}={value}".encode()
    return [
        pid
        for pid in map(int, (path.name for path in _PROC.glob("[0-9]*")))
        if wanted in _read(pid, "environ").split(b"\0") and _state(pid) != "Z"
    ]


def family(pid: int) -> list[int]:
    """A process and all that it has started, directly or not."""
    children: dict[int, list[int]] = {}
    for path in _PROC.glob("[0-9]*"):
        status = _status(int(path.name))
        if status:
            children.setdefault(int(status[1]), []).append(int(path.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to those that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Wait for a condition; False if it did not come true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _read(pid: int, name: str) -> bytes:
    try:
        return (_PROC / str(pid) / name).read_bytes()
    except OSError:  # it is gone, or another user's
        return b""


def _status(pid: int) -> list[bytes]:
    """What follows the name in its status: state, parent, ...; empty if it is gone."""
    return _read(pid, "stat").rpartition(b")")[2].split()


def _state(pid: int) -> str:
    status = _status(pid)
    return status[0].decode() if status else ""

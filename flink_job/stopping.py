"""Stops a running job so that it can go on: asked by a signal, with a savepoint."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_RETRY_S = 1.0  # between two attempts at a savepoint
WRITING = "stopping, a savepoint is being written ..."


class StopRequest:
    """Whether the job has been asked to stop.

    Until it is `running`, a signal interrupts: there is nothing to save yet.
    """

    requested = False
    running = False


@contextmanager
def on_signals() -> Iterator[StopRequest]:
    """Have Ctrl-C and SIGTERM ask a running job to stop, without interrupting anything.

    Outside of the main thread, which alone gets signals, nothing changes.

    Raises
    ------
    KeyboardInterrupt
        At a signal before the job is running, and at the second one.
    """
    request = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        interrupting = request.requested or not request.running
        request.requested = True
        if interrupting:
            logging.disable()  # py4j logs the call that this interrupts, traceback and all
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        logging.disable(logging.NOTSET)


class Savepoint(Protocol):
    """A savepoint that is being written: a `CompletableFuture<String>` of the JVM."""

    def isDone(self) -> bool:
        """Whether it is written, or has failed."""

    def get(self) -> str:
        """Where it is; raises if it failed."""


class Stopping:
    """Stops one job with a savepoint, trying again until there is one.

    A job that is still starting can not write one; nor can one whose disk is full. It runs on.

    Parameters
    ----------
    begin
        Asks Flink to stop the job with a savepoint.
    monotonic
        A clock in seconds that never goes back.
    """

    def __init__(self, begin: Callable[[], Savepoint], monotonic: Callable[[], float]) -> None:
        self._begin = begin
        self._monotonic = monotonic
        self._pending: Savepoint | None = None
        self._again_at = monotonic()
        self.savepoint: str | None = None
        """Where the savepoint is, once it is written."""
        self.note = WRITING
        """What to tell the operator."""

    def attend(self) -> None:
        """Take the next step, if one is due; does not wait. Call it until the job has ended."""
        if self.savepoint is not None:
            return
        if self._pending is None:
            if self._monotonic() >= self._again_at:
                self._pending = self._begin()
        elif self._pending.isDone():
            self._finish(self._pending)

    def conclude(self) -> None:
        """Take the last step when the job has ended."""
        if self._pending is not None:
            self._finish(self._pending)

    def _finish(self, pending: Savepoint) -> None:
        self._pending = None
        try:
            self.savepoint = str(pending.get())
        except Exception as error:  # py4j raises one class for all in the JVM
            self.note = (
                f"stopping: no savepoint yet, trying again; once more Ctrl-C gives up. "
                f"The reason: {root_cause(error)}"
            )
            self._again_at = self._monotonic() + _RETRY_S


def root_cause(error: Exception) -> str:
    """The one line of a Java stack trace that says what went wrong."""
    causes = [
        line.strip().removeprefix("Caused by: ")
        for line in str(error).splitlines()
        if line.strip().startswith("Caused by: ") or "Error: " in line
    ]
    return causes[-1] if causes else next(iter(str(error).splitlines()), type(error).__name__)

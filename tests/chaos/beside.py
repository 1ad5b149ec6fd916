"""What happens beside a job that runs in the main thread."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flink_job.run import Progress


@contextmanager
def beside(happen: Callable[[], None]) -> Iterator[Callable[[Progress], None]]:
    """What happens, in a thread of its own; asks the job to stop once it is over, or failed."""
    errors: list[BaseException] = []

    def act() -> None:
        try:
            happen()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=act, name="chaos")
    asked = threading.Event()

    def look(_: Progress) -> None:
        if not thread.is_alive() and not asked.is_set():
            asked.set()
            os.kill(os.getpid(), signal.SIGINT)

    thread.start()
    yield look
    thread.join()
    if errors:
        raise errors[0]

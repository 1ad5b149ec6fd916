"""Asks a running job to stop, as a user does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from flink_job.run import Progress
from model_store.ledger import Usage


def stop_when(
    condition: Callable[[Usage], bool], number: signal.Signals = signal.SIGINT
) -> Callable[[Progress], None]:
    """Sends a signal, once, when the counts are such; for `run`'s `on_progress`."""
    asked: list[bool] = []

    def look(progress: Progress) -> None:
        if progress.usage is not None and not asked and condition(progress.usage):
            asked.append(True)
            os.kill(os.getpid(), number)

    return look

"""The live view of a running job."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from flink_job.run import Progress
from flink_job.settings import JobSettings


class LiveProgress:
    """Shows events, calls and the release in use, as the ledger has them."""

    def __init__(self, console: Console, job: JobSettings) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._calls = job.budget.calls if job.budget else None
        self._stopping: str | None = None
        self._trouble: str | None = None
        self._task = self._bar.add_task("starting Flink", total=None, state="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, progress: Progress) -> None:
        """Take up the newest counts; what the operator should know is a line of its own."""
        self._say(progress)
        usage = progress.usage
        if usage is None or usage.seen == 0:
            return
        cap = f" of {self._calls}" if self._calls is not None else ""
        self._bar.update(
            self._task,
            description="stopping" if progress.stopping else "deciding",
            completed=usage.seen,
            total=progress.events,
            state=(
                f"{usage.seen} events, {usage.reserved}{cap} LLM calls, "
                f"release {progress.release or 'none yet'}"
            ),
        )

    def _say(self, progress: Progress) -> None:
        if progress.stopping and progress.stopping != self._stopping:
            self._print(progress.stopping)
        self._stopping = progress.stopping
        # Errors of one outage differ; only its beginning and its end are news.
        if progress.trouble and not self._trouble:
            self._print(f"the store is out of reach, the job goes on without: {progress.trouble}")
        elif self._trouble and not progress.trouble:
            self._print("the store is back")
        self._trouble = progress.trouble

    def _print(self, line: str) -> None:
        self._bar.console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)

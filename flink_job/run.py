"""Runs a job on Flink, watches it, and draws up its outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from flink_job import output
from flink_job.connecting import require_key, require_levels, running_store
from flink_job.java import ensure_java
from flink_job.outcome import Outcome, conclude
from flink_job.settings import JobSettings
from flink_job.sources.blocks import Survey, survey
from flink_job.sources.reading import list_files
from model_store.errors import StoreError
from model_store.ledger import Usage
from operators.flink.connection import StoreConnection

_REFRESH_S = 0.25


class JobFailed(RuntimeError):
    """The Flink job ended with an error; the message is its root cause."""


@dataclass(frozen=True)
class Progress:
    """How far a running job is.

    Parameters
    ----------
    events
        Length of the stream in events, None if it has no end.
    release
        The head release, None before the first.
    """

    events: int | None
    usage: Usage
    release: str | None


def run(
    job: JobSettings,
    run_id: str,
    on_progress: Callable[[Progress], None],
    count_calls: Callable[[], int] | None = None,
) -> Outcome | None:
    """Run a job to the end of its source, or until it is interrupted.

    Parameters
    ----------
    run_id
        Name of the run; budget and counts are kept under it.
    on_progress
        Called a few times a second.
    count_calls
        Counts the calls where they arrive, if the caller knows better than the ledger.

    Returns
    -------
    The outcome, or None for a watched source, which has no end to evaluate.

    Raises
    ------
    SettingsError
        If the job can not start.
    model_store.errors.StoreError
        If the store is out of reach when it starts. Later that only costs quality.
    JobFailed
        If Flink gave it up.
    """
    found = None if job.source.watch else survey(job)
    if found is None:
        list_files(job.source)
    else:
        job = job.for_stream_of(found.events)
    require_key(job)
    require_levels(job)
    output.prepare(job.sink)
    ensure_java()
    with running_store(job, run_id) as link:
        link.ledger().begin()
        started = time.monotonic()
        _execute(job, link, found, on_progress)
        wall_s = time.monotonic() - started
        usage = None
        with suppress(StoreError):  # the job outlived its store; the decisions tell enough
            usage = link.ledger().usage()
    if found is None:
        return None
    return conclude(
        job,
        found,
        events_in=usage.seen if usage else None,
        calls=count_calls() if count_calls else usage.reserved_here if usage else None,
        wall_s=wall_s,
        title=f"{job.task.name}: Flink run {run_id}",
    )


def _execute(
    job: JobSettings,
    link: StoreConnection,
    found: Survey | None,
    on_progress: Callable[[Progress], None],
) -> None:
    # PyFlink starts a JVM when it is imported to any depth: only a run should pay for that.
    from flink_job import graph
    from flink_job.environment import create_environment

    folder = job.sink.path / output.CHECKPOINTS
    env = create_environment(job.flink, job.flink.checkpoints or folder.absolute().as_uri())
    graph.build(env, job, link, found.records if found else None)
    client = env.execute_async(f"flink-cascade {job.task.name}")
    ledger, store = link.ledger(), link.store()
    result = client.get_job_execution_result()
    with _stopped_on_interrupt(client, job):
        while not result.done():
            # The job reports its own trouble with the store; a line of progress can wait.
            with suppress(StoreError):
                events = found.events if found else None
                on_progress(Progress(events, ledger.usage(), store.head(job.task.name)))
            time.sleep(_REFRESH_S)
    try:
        result.result()
    except Exception as error:  # py4j raises one class for all that happens in the JVM
        raise JobFailed(_root_cause(error)) from error


@contextmanager
def _stopped_on_interrupt(client: Any, job: JobSettings) -> Iterator[None]:
    """On Ctrl-C have the job finish what it holds and commit it, then end."""
    try:
        yield
    except KeyboardInterrupt:
        from pyflink.java_gateway import get_gateway

        # PyFlink 2.3's own stop_with_savepoint calls a Java method that is gone.
        kind = get_gateway().jvm.org.apache.flink.core.execution.SavepointFormatType.CANONICAL
        savepoints = (job.sink.path / output.SAVEPOINTS).absolute().as_uri()
        client._j_job_client.stopWithSavepoint(True, savepoints, kind).get()  # noqa: SLF001  # as said


def _root_cause(error: Exception) -> str:
    causes = [
        line.strip().removeprefix("Caused by: ")
        for line in str(error).splitlines()
        if line.strip().startswith("Caused by: ") or "Error: " in line
    ]
    return causes[-1] if causes else str(error).splitlines()[0]

"""Runs a job on Flink, watches it, and draws up its outcome."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flink_job import output, stopping
from flink_job.connecting import (
    begin_counts,
    require_key,
    require_levels,
    running_store,
    shown_to_producers,
)
from flink_job.failing import explain
from flink_job.java import ensure_java
from flink_job.jvm import prepare_jvm
from flink_job.outcome import Outcome, conclude
from flink_job.settings import JobSettings, SettingsError
from flink_job.sink_settings import FileSinkSettings
from flink_job.sources.blocks import Survey, survey_if_it_ends
from flink_job.worker_threads import hush
from model_store.errors import StoreError
from model_store.ledger import Usage
from operators.flink.connection import StoreConnection

_REFRESH_S = 0.25


class JobFailed(RuntimeError):
    """The Flink job ended with an error; the message is its root cause, and what to do."""


@dataclass(frozen=True)
class Progress:
    """How far a running job is.

    Parameters
    ----------
    events
        Length of the stream in events, None if it has no end.
    usage
        The ledger's counts, None while the store is out of reach.
    release
        The head release, None before the first, and while the store is out of reach.
    stopping
        How far the stop is that was asked for, None if none was.
    trouble
        Why the store is out of reach, if it is.
    """

    events: int | None
    usage: Usage | None
    release: str | None
    stopping: str | None = None
    trouble: str | None = None


@dataclass(frozen=True)
class Stopped:
    """A run that was asked to stop.

    Parameters
    ----------
    savepoint
        What it can go on from; None if it was stopped before it began.
    """

    savepoint: str | None


def run(
    job: JobSettings,
    run_id: str,
    on_progress: Callable[[Progress], None],
    count_calls: Callable[[], int] | None = None,
    from_savepoint: str | None = None,
) -> Outcome | Stopped:
    """Run a job to the end of its source, or until Ctrl-C or SIGTERM stops it with a savepoint.

    Parameters
    ----------
    run_id
        Name of the run; budget and counts are kept under it.
    on_progress
        Called a few times a second.
    count_calls
        Counts the calls where they arrive, if the caller knows better than the ledger.
    from_savepoint
        Path or URI of a savepoint, or of a checkpoint, of the run of that name to go on from: into
        the same sink, and with what it has left of its budget.

    Raises
    ------
    SettingsError
        If the job can not start.
    model_store.errors.StoreError
        If the store is out of reach when it starts. Later that only costs quality.
    JobFailed
        If Flink gave it up.
    KeyboardInterrupt
        If it was told to stop a second time.
    """
    found = survey_if_it_ends(job)
    if found is not None:
        _require_files(job)
        job = job.for_stream_of(found.events)
    job.resolve_source()
    require_key(job)
    require_levels(job)
    restore = None if from_savepoint is None else _resumable(job, from_savepoint)
    output.prepare(job.sink, go_on=restore is not None)
    ensure_java()
    prepare_jvm(job.flink, job.sink.path / output.LOGS)
    hush()
    with running_store(job, run_id) as link, shown_to_producers(job, link):
        begin_counts(link, go_on=restore is not None)
        started = time.monotonic()
        stopped = _execute(job, link, found, on_progress, restore)
        wall_s = time.monotonic() - started
        usage = None
        with suppress(StoreError):  # the job outlived its store; the decisions tell enough
            usage = link.ledger().usage()
    if stopped is not None:
        return stopped
    assert found is not None, "a watched source has no end"
    return conclude(
        job,
        found,
        events_in=usage.seen if usage else None,
        calls=count_calls() if count_calls else usage.reserved_here if usage else None,
        wall_s=wall_s,
        title=f"{job.task.name}: Flink run {run_id}",
    )


def _require_files(job: JobSettings) -> None:
    if not isinstance(job.sink, FileSinkSettings):
        message = (
            "sink.kind: the report of a source that ends is drawn up from files of decisions. "
            "Operator action: use a sink of `kind: files`, or `flink-cascade submit`."
        )
        raise SettingsError(message)


def _resumable(job: JobSettings, savepoint: str) -> str:
    if job.store.kind == "embedded":
        message = (
            "--from-savepoint: an embedded store ends with its run, and with it the count of what "
            "was spent. Operator action: use `store: {kind: redis}` for a job that is to go on."
        )
        raise SettingsError(message)
    return output.savepoint_uri(savepoint)


def _execute(
    job: JobSettings,
    link: StoreConnection,
    found: Survey | None,
    on_progress: Callable[[Progress], None],
    restore: str | None,
) -> Stopped | None:
    """Run the job until it has ended; None if it came to its end, and was not stopped."""
    events = found.events if found else None
    with stopping.on_signals() as request:
        try:
            client = _start(job, link, found, restore)
        except BaseException:  # an interrupted import raises whatever it likes
            if request.requested:
                return Stopped(restore)
            raise
        request.running = True
        stop = stopping.Stopping(lambda: _savepoint(client, job), time.monotonic)
        result = client.get_job_execution_result()
        store, ledger = link.store(), link.ledger()
        while not result.done():
            if request.requested:
                stop.attend()
            note = stop.note if request.requested else None
            try:
                progress = Progress(events, ledger.usage(), store.head(job.task.name), note)
            except StoreError as error:
                progress = Progress(events, None, None, note, str(error))
            on_progress(progress)
            time.sleep(_REFRESH_S)
        try:
            result.result()
        except Exception as error:  # py4j raises one class for all that happens in the JVM
            raise JobFailed(explain(stopping.root_cause(error), job, link.run)) from error
        stop.conclude()
    return None if stop.savepoint is None else Stopped(stop.savepoint)


def _start(
    job: JobSettings, link: StoreConnection, found: Survey | None, restore: str | None
) -> Any:
    # PyFlink starts a JVM when it is imported to any depth: only a run should pay for that.
    from flink_job import graph
    from flink_job.environment import create_environment

    checkpoints = job.flink.checkpoints or output.uri(job.sink.path / output.CHECKPOINTS)
    env = create_environment(job.flink, checkpoints, restore)
    graph.build(env, job, link, found.records if found else None)
    return env.execute_async(f"flink-cascade {job.task.name}")


def _savepoint(client: Any, job: JobSettings) -> stopping.Savepoint:
    """Ask Flink to commit what is decided, to keep all else in a savepoint, and to end the job."""
    from pyflink.java_gateway import get_gateway

    # PyFlink 2.3's own stop_with_savepoint calls a Java method that is gone.
    kind = get_gateway().jvm.org.apache.flink.core.execution.SavepointFormatType.CANONICAL
    folder = output.uri(job.sink.path / output.SAVEPOINTS)
    # Without draining: that would tell the operators that their input has ended for good.
    savepoint: stopping.Savepoint = client._j_job_client.stopWithSavepoint(False, folder, kind)  # noqa: SLF001  # the public method is broken
    return savepoint

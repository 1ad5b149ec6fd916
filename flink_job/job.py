"""The job as a script for Flink's own client, which sends it to a cluster, detached.

::

    flink run --jobmanager HOST:8081 -pyexec PYTHON -pyclientexec PYTHON \
        -py flink_job/job.py --cascade-job job.yaml --cascade-run-id NAME

`flink-cascade submit` runs just that. The names of the options are long because Flink's client
takes whatever could be the beginning of an option of its own.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import typer

from flink_job import output
from flink_job.connecting import begin_counts, connection, require_levels, was_begun
from flink_job.settings import JobSettings, SettingsError, load_job
from flink_job.sources.blocks import survey_if_it_ends
from model_store.errors import StoreError
from model_store.names import NAME_RULE, is_name

ERROR = "error: "
"""What the line begins with that tells why a job could not be sent."""
_REFUSED = 2


def require_shared(job: JobSettings, run_id: str) -> None:
    """See to it that a job can run on a cluster, before anything is sent there.

    Raises
    ------
    SettingsError
        If it can not.
    """
    if not is_name(f"{job.task.name}.{run_id}"):  # under which the ledger is kept
        message = f"--cascade-run-id: {run_id!r} is no name. Operator action: use {NAME_RULE}."
        raise SettingsError(message)
    if job.store.kind == "embedded":
        message = (
            "store: an embedded store ends with the command that starts it, and the cluster's "
            "workers do not reach it. Operator action: use `store: {kind: redis}`, with `url` or "
            f"with {job.store.url_env} in the environment, here and of every TaskManager."
        )
        raise SettingsError(message)
    job.store.resolve()
    job.resolve_source()


def send(job: JobSettings, run_id: str, *, again: bool = False) -> None:
    """Send a job to the cluster that Flink's client was told. Works inside that client alone.

    Parameters
    ----------
    again
        Whether this may happen more than once for a run: a cluster of one job sends it whenever its
        JobManager restarts, and takes up its state by itself.

    Raises
    ------
    SettingsError
        If the job can not start.
    model_store.errors.StoreError
        If the store is out of reach.
    """
    require_shared(job, run_id)
    found, records = survey_if_it_ends(job), None
    if found is not None:
        job, records = job.for_stream_of(found.events), found.records
    require_levels(job)
    # Outside of Flink's client this would start a JVM.
    from flink_job import graph
    from flink_job.environment import create_cluster_environment, restored_from

    checkpoints = job.sink.path / output.CHECKPOINTS
    env = create_cluster_environment(
        job.flink, job.flink.checkpoints or checkpoints.absolute().as_uri()
    )
    link = connection(job, run_id)
    goes_on = restored_from(env) is not None or (again and was_begun(link))
    output.prepare(job.sink, go_on=goes_on)
    graph.build(env, job, link, records)
    begin_counts(link, go_on=goes_on)
    env.execute_async(f"flink-cascade {job.task.name}")


def main(arguments: list[str]) -> int:
    """Run the script; returns its exit status."""
    parser = argparse.ArgumentParser(prog="job.py", description="Sends a job to a Flink cluster.")
    parser.add_argument("--cascade-job", type=Path, required=True, help="the job's YAML")
    parser.add_argument(
        "--cascade-run-id", required=True, help="name under which budget and counts are kept"
    )
    parser.add_argument(
        "--cascade-again",
        action="store_true",
        help="go on with the run of that name if there is one, as in Flink's application mode, "
        "where this script runs again when the JobManager restarts",
    )
    given = parser.parse_args(arguments)
    try:
        send(load_job(given.cascade_job), given.cascade_run_id, again=given.cascade_again)
    except (SettingsError, StoreError, OSError) as error:
        typer.echo(f"{ERROR}{error}", err=True)
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

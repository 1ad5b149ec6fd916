"""`flink-cascade submit` and `stop`: a job on a Flink cluster."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from flink_job.jobmanager import JobManager
from flink_job.settings import JobSettings, load_job
from flink_job.submission import submit as submit_job
from operators.settings import OpenAIExpertSettings

_console = Console()
Address = Annotated[
    str, typer.Option("--jobmanager", help="host:port of the cluster's REST interface.")
]


def submit(
    job: Annotated[Path, typer.Argument(help="The job's YAML.", dir_okay=False)],
    jobmanager: Address = "localhost:8081",
    run_id: Annotated[
        str | None,
        typer.Option(
            "--cascade-run-id",
            help="Name under which budget and counts are kept; a savepoint needs its run's name.",
        ),
    ] = None,
    from_savepoint: Annotated[
        str | None,
        typer.Option("--from-savepoint", help="Folder or URI of the savepoint to go on from."),
    ] = None,
    python: Annotated[
        str, typer.Option(help="Python on the cluster's machines, with this project's packages.")
    ] = sys.executable,
) -> None:
    """Send a job to a Flink cluster, where it runs on without this command."""
    from flink_job.cli.main import explained, new_run_id, run_name_of

    with explained():
        name = run_name_of(run_id, from_savepoint) or new_run_id()
        settings = load_job(job)
        sent = submit_job(job, name, jobmanager, python=python, from_savepoint=from_savepoint)
    stop = ["flink-cascade", "stop", sent.job_id, "--jobmanager", jobmanager]
    _say(f"job {sent.job_id}, run {name}\ndashboard: {sent.dashboard}")
    needed = _variables(settings)
    if needed:
        _say(f"the TaskManagers need in their environment (or as NAME_FILE): {', '.join(needed)}")
    _say(f"stop it with:\n{shlex.join(stop)}")


def stop(
    job_id: Annotated[str, typer.Argument(help="As `submit` printed it.")],
    jobmanager: Address = "localhost:8081",
    savepoints: Annotated[
        str | None,
        typer.Option(help="URI of the folder for the savepoint; default is the cluster's own."),
    ] = None,
) -> None:
    """Stop a job on a cluster with a savepoint, from which `submit` can go on."""
    from flink_job.cli.main import explained

    with explained():
        folder = None if savepoints is None else _uri(savepoints)
        savepoint = JobManager(jobmanager).stop(job_id, folder)
    _say(f"stopped; go on with `flink-cascade submit` and:\n--from-savepoint {savepoint}")


def _uri(folder: str) -> str:
    return folder if ":/" in folder else Path(folder).absolute().as_uri()


def _variables(job: JobSettings) -> list[str]:
    """Names of the variables that workers read."""
    store = [] if job.store.url else [job.store.url_env]
    expert = [job.expert.api_key_env] if isinstance(job.expert, OpenAIExpertSettings) else []
    return [*store, *expert]


def _say(text: str) -> None:
    """Print text as it is, to be copied."""
    _console.print(text, markup=False, highlight=False, soft_wrap=True)

"""All commands, and how errors reach the person who typed one."""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from flink_job.checking import check_job
from flink_job.cli import demo, relay, releases, submit
from flink_job.cli.doctor import doctor
from flink_job.cli.progress import LiveProgress
from flink_job.connecting import EMBEDDED_URL
from flink_job.evaluation import EvaluationError
from flink_job.jobmanager import JobManagerError
from flink_job.outcome import Outcome
from flink_job.output import local_path
from flink_job.replay import run_replay
from flink_job.run import JobFailed, Stopped
from flink_job.run import run as run_job
from flink_job.settings import JobSettings, SettingsError, load_job
from flink_job.source_settings import RedisSourceSettings
from flink_job.submission import SubmissionFailed
from flink_job.summary import summary_table
from model_store.errors import StoreError
from model_store.names import NAME_RULE, is_name

app = typer.Typer(
    name="flink-cascade",
    help="Classify every event of a stream at LLM quality for a fraction of the LLM calls.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(doctor)
app.command()(submit.submit)
app.command()(submit.stop)
app.command()(relay.relay)
app.add_typer(releases.app, name="releases", help="List, show and roll back releases.")
app.add_typer(demo.app, name="demo", help="Run the whole system on generated posts.")

console, errors = Console(), Console(stderr=True)
_EXPLAINED = (
    SettingsError,
    StoreError,
    EvaluationError,
    JobFailed,
    JobManagerError,
    SubmissionFailed,
    OSError,
)
JobFile = Annotated[Path, typer.Argument(help="The job's YAML.", dir_okay=False)]


@contextmanager
def explained() -> Iterator[None]:
    """Show an error that the user can mend as its message alone, and exit with status 2."""
    try:
        yield
    except _EXPLAINED as error:
        fail(str(error))
        raise typer.Exit(2) from error


@app.command()
def run(
    job: JobFile,
    run_id: Annotated[
        str | None,
        typer.Option(
            "--cascade-run-id",
            help="Name under which budget and counts are kept; give it again to go on with them.",
        ),
    ] = None,
    from_savepoint: Annotated[
        str | None,
        typer.Option(
            "--from-savepoint",
            help="Folder of the savepoint to go on from; needs --cascade-run-id, its run's name.",
        ),
    ] = None,
) -> None:
    """Run a job on Flink, here in the local mini cluster.

    Ctrl-C, or SIGTERM, stops it with a savepoint; pressed again, without one.
    """
    with explained():
        name = run_name_of(run_id, from_savepoint) or new_run_id()
        settings = load_job(job)
        if not is_name(f"{settings.task.name}.{name}"):  # under which the ledger is kept
            message = f"--cascade-run-id: {name!r} is no name. Operator action: use {NAME_RULE}."
            raise SettingsError(message)
        show_how_to_add(settings)
        with LiveProgress(console, settings) as progress:
            outcome = run_job(settings, name, progress.show, from_savepoint=from_savepoint)
        if isinstance(outcome, Stopped):
            show_stopped(outcome, settings, job, name)
        else:
            show(outcome)


@app.command()
def replay(
    job: JobFile,
    rate: Annotated[
        float | None,
        typer.Option(
            min=1e-6,
            help="Events in a second, for a budget per hour or minute; else their own times count.",
        ),
    ] = None,
) -> None:
    """Run the same core over the same source in one process, without Flink."""
    with explained():
        show(run_replay(load_job(job), rate))


@app.command()
def check(job: JobFile) -> None:
    """Check a job's settings, source, store, expert and Java, without starting it."""
    with explained():
        findings = check_job(load_job(job))
        for finding in findings:
            mark = "[green]ok[/]  " if finding.good else "[red]bad[/] "
            console.print(f"{mark} {finding.what}: {escape(finding.detail)}", soft_wrap=True)
            if finding.warning:
                warning = f"[yellow]warn[/] {finding.what}: {escape(finding.warning)}"
                console.print(warning, soft_wrap=True)
        if not all(finding.good for finding in findings):
            raise typer.Exit(2)


@app.command()
def schema() -> None:
    """Print the JSON schema of a job's YAML."""
    typer.echo(json.dumps(JobSettings.model_json_schema(), indent=2))


def run_name_of(run_id: str | None, from_savepoint: str | None) -> str | None:
    """The run's name as it was given.

    Raises
    ------
    SettingsError
        If there is none, and the run is to go on from a savepoint.
    """
    if from_savepoint is not None and run_id is None:
        message = (
            "--from-savepoint needs --cascade-run-id, the name of the run that wrote it. "
            "Operator action: copy both from what that run printed."
        )
        raise SettingsError(message)
    return run_id


def new_run_id() -> str:
    """A name for a run that sorts by time."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def show(outcome: Outcome) -> None:
    """Print the summary of a run and where its report is; a lost event is an error."""
    console.print(summary_table(outcome.evaluation))
    console.print(f"report: {escape(outcome.report.absolute().as_uri())}", soft_wrap=True)
    if not outcome.evaluation.delivery.complete:
        fail("some event has no decision, or more than one")
        raise typer.Exit(1)


def show_how_to_add(settings: JobSettings) -> None:
    """Print how to write to a stream in an embedded Redis, which nobody else knows of."""
    source = settings.source
    if not settings.embedded_streams or not isinstance(source, RedisSourceSettings):
        return
    event = json.dumps(dict.fromkeys(settings.columns, "..."))
    entry = shlex.join([settings.embedded_streams[0], "*", source.json_field, event])
    url = shlex.quote(str(settings.sink.path / EMBEDDED_URL))
    say(f'once it runs, add an event with:\nredis-cli -u "$(cat {url})" XADD {entry}')


def show_stopped(stopped: Stopped, settings: JobSettings, job: Path, run_id: str) -> None:
    """Print how to go on with a run that was stopped; one whose source has an end is not done."""
    if stopped.savepoint is None:
        say("stopped before it began; nothing was decided")
    elif settings.store.kind == "embedded":
        say(
            f"stopped; its decisions are in {settings.sink.path}. Its embedded store is gone, and "
            "with it the count of what was spent: use `store: {kind: redis}` for a job that is to "
            "go on."
        )
    else:
        command = ["flink-cascade", "run", str(job), "--cascade-run-id", run_id]
        command += ["--from-savepoint", local_path(stopped.savepoint)]
        say(f"stopped; go on with:\n{shlex.join(command)}")
    if not settings.endless:
        raise typer.Exit(1)


def fail(message: str) -> None:
    """Print an error where it does not mix with what is shown."""
    errors.print(f"[red]error:[/] {escape(message)}", soft_wrap=True)


def say(text: str) -> None:
    """Print text as it is, to be copied: without markup, colours or line breaks of its own."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)

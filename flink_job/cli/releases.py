"""`flink-cascade releases`: what was learned, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from flink_job.connecting import connection
from flink_job.settings import JobSettings, SettingsError, load_job
from model_store.errors import StoreError
from model_store.manifest import Manifest
from model_store.store import ModelStore

app = typer.Typer(no_args_is_help=True)
_console, _errors = Console(), Console(stderr=True)
_MEBIBYTE = 1 << 20
_ID_CHARS = len("r000042-1a2b3c4d5e6f")
JobFile = Annotated[Path, typer.Argument(help="The job's YAML: names the task and the store.")]
ReleaseName = Annotated[str, typer.Argument(help="The release, as in r000042-1a2b3c4d5e6f.")]


def _open(job: Path) -> tuple[JobSettings, ModelStore]:
    settings = load_job(job)
    if settings.store.kind == "embedded":
        message = (
            "store: an embedded store ends with its run, and its releases with it. "
            "Operator action: use `store: {kind: redis}` to keep them."
        )
        raise SettingsError(message)
    settings.store.resolve()
    return settings, connection(settings, "cli").store()


def _fail(error: Exception) -> typer.Exit:
    _errors.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
    return typer.Exit(2)


@app.command("list")
def list_releases(job: JobFile) -> None:
    """List the releases of the job's task, newest first."""
    try:
        settings, store = _open(job)
        head = store.head(settings.task.name)
        manifests = store.releases(settings.task.name)
    except (SettingsError, StoreError) as error:
        raise _fail(error) from error
    named = Column(
        "release", no_wrap=True, min_width=_ID_CHARS
    )  # to be copied, also from 80 columns
    table = Table("status", named, "created (UTC)", "parent", "annotations", "MiB")
    for manifest in manifests:
        table.add_row(
            "head" if manifest.release == head else manifest.status,
            manifest.release,
            f"{manifest.created:%Y-%m-%d %H:%M:%S}",
            manifest.parent or "",
            Text(str(manifest.stats.get("annotations", ""))),
            f"{_size(manifest) / _MEBIBYTE:.1f}",
        )
    _console.print(table)


@app.command()
def show(job: JobFile, release: ReleaseName) -> None:
    """Show one release: its statistics, its tensors, and why it was rejected if it was."""
    try:
        settings, store = _open(job)
        manifest = store.manifest(settings.task.name, release)
    except (SettingsError, StoreError) as error:
        raise _fail(error) from error
    _console.print_json(manifest.model_dump_json())


@app.command()
def rollback(
    job: JobFile,
    release: ReleaseName,
    rejected: Annotated[
        bool, typer.Option("--rejected", help="Also to a release that the gate rejected.")
    ] = False,
) -> None:
    """Make an earlier release the head; every subtask serves it with its next chunk.

    A trainer that runs goes on learning from there.
    """
    try:
        settings, store = _open(job)
        manifest = store.rollback(settings.task.name, release, even_rejected=rejected)
    except (SettingsError, StoreError) as error:
        raise _fail(error) from error
    _console.print(f"the head of {settings.task.name} is {manifest.release}", markup=False)


def _size(manifest: Manifest) -> int:
    return sum(tensor.nbytes for tensor in manifest.tensors.values())

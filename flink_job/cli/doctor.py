"""`flink-cascade doctor`: whether this machine, and all that a job relies on, is in order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from flink_job.doctor import Diagnosis, State, examine
from flink_job.settings import SettingsError, load_job

_console = Console()
_CHECKOUT = Path(__file__).parents[2] / "constraints.txt"
_STYLES = {State.OK: "green", State.WARNING: "yellow", State.BAD: "red"}
_WIDTH = max(map(len, State))


def doctor(
    job: Annotated[
        Path | None,
        typer.Argument(
            help="A job's YAML: also looks at its store and asks its expert.", dir_okay=False
        ),
    ] = None,
    constraints: Annotated[
        Path | None, typer.Option(help="The constraints.txt of this version.", dir_okay=False)
    ] = None,
) -> None:
    """Check Java, Flink, packages, ONNX Runtime, Redis and the expert, and say what to mend.

    With a job, two calls to its expert are made and paid. Exits with 2 if anything is bad.
    """
    try:
        settings = load_job(job) if job else None
    except SettingsError as error:
        _console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    pins = constraints or (_CHECKOUT if _CHECKOUT.exists() else None)
    found = examine(settings, pins)
    for diagnosis in found:
        _show(diagnosis)
    if any(diagnosis.state is State.BAD for diagnosis in found):
        raise typer.Exit(2)


def _show(diagnosis: Diagnosis) -> None:
    _console.print(f"{diagnosis.state:{_WIDTH}} ", style=_STYLES[diagnosis.state], end="")
    _console.print(f"{diagnosis.what}: {diagnosis.detail}", markup=False, soft_wrap=True)
    if diagnosis.fix:
        _console.print(f"{'':{_WIDTH}}  -> {diagnosis.fix}", markup=False, soft_wrap=True)

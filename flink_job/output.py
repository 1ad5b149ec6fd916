"""The folder that a run writes to."""

from __future__ import annotations

import os
import re
from pathlib import Path

from flink_job.settings import SettingsError
from flink_job.sink_settings import SinkSettings

DECISIONS, DEAD_LETTERS, RELEASES = "decisions", "dead_letters", "releases"
ANNOTATIONS, EVIDENCE = "annotations", "evidence"
CHECKPOINTS, SAVEPOINTS, LOGS = "checkpoints", "savepoints", "logs"
_FILE = "file:"
_METADATA = "_metadata"  # Flink's name for what makes a folder a savepoint
FOLDERS = (DECISIONS, DEAD_LETTERS, ANNOTATIONS, EVIDENCE, RELEASES)


def prepare(settings: SinkSettings, *, go_on: bool = False) -> None:
    """Make the sink's folder.

    Parameters
    ----------
    go_on
        Whether the run goes on with the one that the sink holds.

    Raises
    ------
    SettingsError
        If it can not be made, or holds an earlier run: mixing two runs would double decisions.
    """
    if not go_on:
        _refuse_occupied(settings)
    try:
        settings.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"sink.path: {settings.path} can not be made: {error}"
        raise SettingsError(message) from error


def look(settings: SinkSettings) -> None:
    """See whether `prepare` would work, and change nothing.

    Raises
    ------
    SettingsError
        If the folder holds an earlier run, or nothing can be written there.
    """
    _refuse_occupied(settings)
    path = settings.path
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        message = (
            f"sink.path: nothing can be written to {path}: {existing} is no folder, or not yours. "
            "Operator action: choose another folder, or change its permissions."
        )
        raise SettingsError(message)


def _refuse_occupied(settings: SinkSettings) -> None:
    try:
        occupied = [name for name in FOLDERS if (settings.path / name).exists()]
    except OSError as error:
        message = f"sink.path: {settings.path} can not be looked into: {error}"
        raise SettingsError(message) from error
    if occupied:
        message = (
            f"sink.path: {settings.path} holds an earlier run ({', '.join(occupied)}). "
            "Operator action: move it away, or choose another folder."
        )
        raise SettingsError(message)


def last_checkpoint(folder: Path) -> Path | None:
    """The latest complete checkpoint of a run that keeps them in its sink's folder."""
    found = [
        (metadata.stat().st_mtime_ns, metadata.parent)
        for metadata in (folder / CHECKPOINTS).glob(f"*/chk-*/{_METADATA}")
    ]
    return max(found)[1] if found else None


def savepoint_uri(path: str) -> str:
    """Where Flink finds a savepoint or checkpoint, given as a folder or as a URI.

    Raises
    ------
    SettingsError
        If there is none in that folder.
    """
    if "://" in path and not path.startswith(_FILE):
        return path  # of a file system that may be out of reach from here
    folder = Path(local_path(path))
    if not (folder / _METADATA).is_file():
        message = (
            f"--from-savepoint: there is no savepoint in {folder}. Operator action: give the "
            f"folder that holds the file {_METADATA}; Ctrl-C leaves one in the sink, under "
            f"{SAVEPOINTS}/."
        )
        raise SettingsError(message)
    return uri(folder)


def uri(folder: Path) -> str:
    """A local folder as Flink wants it: percent-encoding would become a part of the name."""
    return f"{_FILE}//{folder.absolute()}"


def local_path(uri: str) -> str:
    """What `uri` was made of, or Flink made of it; any other URI or path as it is."""
    return re.sub(f"^{_FILE}/+", "/", uri)

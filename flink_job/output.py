"""The folder that a run writes to."""

from __future__ import annotations

import re
from pathlib import Path

from flink_job.settings import SettingsError, SinkSettings

DECISIONS, DEAD_LETTERS, RELEASES = "decisions", "dead_letters", "releases"
CHECKPOINTS, SAVEPOINTS, LOGS = "checkpoints", "savepoints", "logs"
_FILE = "file:"
_METADATA = "_metadata"  # Flink's name for what makes a folder a savepoint
FOLDERS = (DECISIONS, DEAD_LETTERS, RELEASES)


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
    try:
        settings.path.mkdir(parents=True, exist_ok=True)
        occupied = [name for name in FOLDERS if (settings.path / name).exists()]
    except OSError as error:
        message = f"sink.path: {settings.path} can not be made: {error}"
        raise SettingsError(message) from error
    if occupied and not go_on:
        message = (
            f"sink.path: {settings.path} holds an earlier run ({', '.join(occupied)}). "
            "Operator action: move it away, or choose another folder."
        )
        raise SettingsError(message)


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

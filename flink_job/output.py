"""The folder that a run writes to."""

from __future__ import annotations

from flink_job.settings import SettingsError, SinkSettings

DECISIONS, DEAD_LETTERS, RELEASES = "decisions", "dead_letters", "releases"
CHECKPOINTS, SAVEPOINTS = "checkpoints", "savepoints"
FOLDERS = (DECISIONS, DEAD_LETTERS, RELEASES)


def prepare(settings: SinkSettings) -> None:
    """Make the sink's folder.

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
    if occupied:
        message = (
            f"sink.path: {settings.path} holds an earlier run ({', '.join(occupied)}). "
            "Operator action: move it away, or choose another folder."
        )
        raise SettingsError(message)

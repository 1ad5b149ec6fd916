"""File sinks: JSON lines, committed with each checkpoint, exactly once."""

from __future__ import annotations

from pathlib import Path

from pyflink.common.serialization import Encoder
from pyflink.datastream import DataStream, DataStreamSink
from pyflink.datastream.connectors.file_system import FileSink, OutputFileConfig, RollingPolicy

from flink_job.settings import SettingsError, SinkSettings

DECISIONS, DEAD_LETTERS, RELEASES = "decisions", "dead_letters", "releases"


def prepare(settings: SinkSettings) -> None:
    """Make the sink's folder.

    Raises
    ------
    SettingsError
        If it can not be made, or holds an earlier run: mixing two runs would double decisions.
    """
    try:
        settings.path.mkdir(parents=True, exist_ok=True)
        occupied = [n for n in (DECISIONS, DEAD_LETTERS, RELEASES) if (settings.path / n).exists()]
    except OSError as error:
        message = f"sink.path: {settings.path} can not be made: {error}"
        raise SettingsError(message) from error
    if occupied:
        message = (
            f"sink.path: {settings.path} holds an earlier run ({', '.join(occupied)}). "
            "Operator action: move it away, or choose another folder."
        )
        raise SettingsError(message)


def write_lines(stream: DataStream, folder: Path, name: str) -> DataStreamSink:
    """Write a stream of JSON lines below a folder."""
    sink = (
        FileSink.for_row_format(str(folder / name), Encoder.simple_string_encoder())
        .with_rolling_policy(RollingPolicy.on_checkpoint_rolling_policy())
        .with_output_file_config(OutputFileConfig.builder().with_part_suffix(".jsonl").build())
        .build()
    )
    return stream.sink_to(sink).name(f"{name} sink").uid(f"{name}-sink")

"""File sinks: JSON lines, committed with each checkpoint, exactly once."""

from __future__ import annotations

from pathlib import Path

from pyflink.common.serialization import Encoder
from pyflink.datastream import DataStream, DataStreamSink
from pyflink.datastream.connectors.file_system import FileSink, OutputFileConfig, RollingPolicy


def write_lines(stream: DataStream, folder: Path, name: str) -> DataStreamSink:
    """Write a stream of JSON lines below a folder."""
    sink = (
        FileSink.for_row_format(str(folder / name), Encoder.simple_string_encoder())
        .with_rolling_policy(RollingPolicy.on_checkpoint_rolling_policy())
        .with_output_file_config(OutputFileConfig.builder().with_part_suffix(".jsonl").build())
        .build()
    )
    return stream.sink_to(sink).name(f"{name} sink").uid(f"{name}-sink")

"""Sinks: JSON lines in files, or records in Kafka; committed with each checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pyflink.common.serialization import Encoder
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.file_system import FileSink, OutputFileConfig, RollingPolicy
from pyflink.table import DataTypes, Schema, StreamTableEnvironment

from flink_job.kafka import connector_needed, describe
from flink_job.output import ANNOTATIONS, DEAD_LETTERS, DECISIONS, EVIDENCE, RELEASES
from flink_job.planned import name_planned
from flink_job.sink_settings import KafkaSinkSettings

# What of a record is the key of its Kafka record.
_KEYS = {
    DECISIONS: "key",
    DEAD_LETTERS: "source",
    ANNOTATIONS: "id",
    EVIDENCE: "id",
    RELEASES: "release",
}
# Flink's default is an hour, more than what brokers allow by theirs.
_TRANSACTION_TIMEOUT_MS = 15 * 60_000
_SPLIT = """
    INSERT INTO {name}_topic
    SELECT JSON_VALUE(line, '$.{key}'), line
    FROM {name}_lines CROSS JOIN UNNEST(SPLIT(f0, CHR(10))) AS split(line)
"""


class Sinks(Protocol):
    """Where the streams of a job end."""

    def write(self, stream: DataStream, name: str) -> None:
        """Write a stream of JSON lines, each record some of them."""


class FileSinks:
    """A folder for each stream.

    Parameters
    ----------
    folder
        In which they are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, stream: DataStream, name: str) -> None:
        """See `Sinks.write`."""
        sink = (
            FileSink.for_row_format(str(self._folder / name), Encoder.simple_string_encoder())
            .with_rolling_policy(RollingPolicy.on_checkpoint_rolling_policy())
            .with_output_file_config(OutputFileConfig.builder().with_part_suffix(".jsonl").build())
            .build()
        )
        stream.sink_to(sink).name(f"{name} sink").uid(f"{name}-sink")


class KafkaSinks:
    """A topic for each stream; each line becomes a record, in the JVM, where that is cheap.

    Parameters
    ----------
    run
        Names the transactions: no two jobs that write at one time may share it.
    """

    def __init__(
        self,
        env: StreamExecutionEnvironment,
        tables: StreamTableEnvironment,
        settings: KafkaSinkSettings,
        run: str,
    ) -> None:
        self._env = env
        self._tables = tables
        self._settings = settings
        self._run = run

    def write(self, stream: DataStream, name: str) -> None:
        """See `Sinks.write`."""
        settings, topics = self._settings, self._settings.topics.model_dump()
        schema = (
            Schema.new_builder()
            .column("key", DataTypes.STRING())
            .column("content", DataTypes.STRING())
            .build()
        )
        options = {
            "key.format": "raw",
            "key.fields": "key",
            "value.format": "raw",
            "value.fields-include": "EXCEPT_KEY",
            "sink.delivery-guarantee": settings.guarantee.replace("_", "-"),
            "sink.transactional-id-prefix": f"{self._run}.{name}",
        }
        if "transaction.timeout.ms" not in settings.properties:
            options["properties.transaction.timeout.ms"] = str(_TRANSACTION_TIMEOUT_MS)
        described = describe(settings, topics[name]).schema(schema)
        for option, value in options.items():
            described = described.option(option, value)
        self._tables.create_temporary_table(f"{name}_topic", described.build())
        self._tables.create_temporary_view(f"{name}_lines", stream)
        statements = self._tables.create_statement_set()
        statements.add_insert_sql(_SPLIT.format(name=name, key=_KEYS[name]))
        with connector_needed():
            statements.attach_as_datastream()
        added = self._env._j_stream_execution_environment.getTransformations()  # noqa: SLF001  # no public way
        name_planned(added[len(added) - 1], f"{name}-sink")

"""Reads topics of Kafka inside Flink: records are gathered in the JVM, and come as chunks."""

from __future__ import annotations

from datetime import UTC, datetime

from pyflink.datastream import DataStream
from pyflink.table import DataTypes, Schema, StreamTableEnvironment, TableDescriptor

from flink_job.kafka import connector_needed, describe
from flink_job.planned import name_planned, transformation_of
from flink_job.settings import JobSettings
from flink_job.source_settings import KafkaSourceSettings
from flink_job.sources.kafka_reader import KafkaReader
from operators.flink.types import CHUNK

_START_MODES = {
    "committed": "group-offsets",
    "earliest": "earliest-offset",
    "latest": "latest-offset",
}
_TICKS_PER_SECOND = 1
_GATHERED = """
    SELECT topic, part, ARRAY_AGG(place), ARRAY_AGG(written), ARRAY_AGG(content)
    FROM TABLE(TUMBLE(TABLE records, DESCRIPTOR(arrival), {length}))
    GROUP BY topic, part, window_start, window_end
    UNION ALL SELECT CAST(NULL AS STRING), tick, ARRAY[CAST(0 AS BIGINT)], ARRAY[''], ARRAY[X'']
    FROM ticks
"""


def read_topics(
    tables: StreamTableEnvironment,
    job: JobSettings,
    source: KafkaSourceSettings,
) -> DataStream:
    """Stream of (shard, chunk of events), with dead letters on the side.

    The record is what a Python operator costs, and a topic has one event a record. So windows in
    the JVM gather, exactly once, what arrives of a partition within `chunk_ms`, and only then
    Python sees it. Their state and timers are Flink's own and survive a restore.
    """
    tables.get_config().set_local_timezone("UTC")  # in which times are written as text
    with connector_needed():
        tables.create_temporary_table("records", _records(source))
        tables.create_temporary_table("ticks", _ticks())
        length = _interval(source.chunk_ms / 1000)
        gathered = tables.to_data_stream(tables.sql_query(_GATHERED.format(length=length)))
    # (topic, partition, offsets, times, contents), and ticks with a topic of null
    name_planned(transformation_of(gathered), "topics")
    return (
        gathered.process(KafkaReader(job), CHUNK)
        .name("read")
        .uid("read")
        .set_parallelism(job.flink.parallelism)
    )


def _records(source: KafkaSourceSettings) -> TableDescriptor:
    watermarks = source.watermarks
    schema = (
        Schema.new_builder()
        .column("content", DataTypes.BYTES())
        .column_by_metadata("topic", DataTypes.STRING(), is_virtual=True)
        .column_by_metadata("part", DataTypes.INT(), "partition", is_virtual=True)
        .column_by_metadata("place", DataTypes.BIGINT(), "offset", is_virtual=True)
        .column_by_metadata("happened", DataTypes.TIMESTAMP_LTZ(3), "timestamp", is_virtual=True)
        .column_by_expression("written", "CAST(happened AS STRING)")
        .column_by_expression("arrival", "PROCTIME()")
        .watermark("happened", f"happened - {_interval(watermarks.out_of_order_s)}")
        .build()
    )
    described = describe(source, ";".join(source.topics)).schema(schema).format("raw")
    options = {
        "properties.group.id": source.group,
        "scan.topic-partition-discovery.interval": f"{source.discovery_s:.0f} s",
        "scan.watermark.idle-timeout": f"{watermarks.idle_s * 1000:.0f} ms",
        **_start(source.start),
    }
    for name, value in options.items():
        described = described.option(name, value)
    return described.build()


def _interval(seconds: float) -> str:
    """A length of time in SQL, where seconds alone end at 99."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"INTERVAL '{hours // 24} {hours % 24:02}:{minutes:02}:{rest:06.3f}' DAY TO SECOND"


def _start(start: str | datetime) -> dict[str, str]:
    if isinstance(start, datetime):
        moment = start if start.tzinfo else start.replace(tzinfo=UTC)
        return {
            "scan.startup.mode": "timestamp",
            "scan.startup.timestamp-millis": str(round(moment.timestamp() * 1000)),
        }
    # The second is for a group that has no offsets yet.
    return {"scan.startup.mode": _START_MODES[start], "properties.auto.offset.reset": "earliest"}


def _ticks() -> TableDescriptor:
    schema = Schema.new_builder().column("tick", DataTypes.INT()).build()
    ticks = TableDescriptor.for_connector("datagen").schema(schema)
    return ticks.option("rows-per-second", str(_TICKS_PER_SECOND)).build()

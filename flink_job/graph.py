"""The job graph; it reads like the picture in the README.

::

    source ── read ──► dead letters
                │ (shard, chunk of events)
                ▼ key_by(shard)
            cascade ◄── releases (Redis)
                │ decisions      ╲ deferrals
                │                 ▼
                │               expert ── lessons ──► trainer ── publishes ──► releases (Redis)
                │                 │ decisions
                ▼                 ▼
              decisions (JSON lines)
"""

from __future__ import annotations

from contextlib import closing

from pyflink.common import Types, WatermarkStrategy
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.number_seq import NumberSequenceSource
from pyflink.datastream.functions import KeyedProcessFunction
from pyflink.table import DataTypes, Schema, StreamTableEnvironment, TableDescriptor

from flink_job import output
from flink_job.connecting import streams_connection
from flink_job.planned import name_planned, transformation_of
from flink_job.settings import JobSettings
from flink_job.sink_settings import KafkaSinkSettings
from flink_job.sinks import FileSinks, KafkaSinks, Sinks
from flink_job.source_settings import KafkaSourceSettings, RedisSourceSettings
from flink_job.sources.block_reader import BlockReader, numbers
from flink_job.sources.folder_reader import FolderReader
from flink_job.sources.kafka import read_topics
from flink_job.sources.redis_streams import RedisStreams
from flink_job.sources.stream_reader import StreamReader
from operators.flink.answers import AnswersFunction
from operators.flink.cascade import CascadeFunction
from operators.flink.connection import StoreConnection
from operators.flink.expert import ExpertFunction
from operators.flink.trainer import TrainerFunction
from operators.flink.types import (
    ANNOTATIONS,
    CHUNK,
    DEAD_LETTERS,
    DEFERRALS,
    EVIDENCE,
    LINES,
    VERDICTS,
)

_FOLDER_TICKS = 10  # a second: each reads one block
_STREAM_TICKS = 1  # a second


def build(
    env: StreamExecutionEnvironment,
    job: JobSettings,
    connection: StoreConnection,
    records: int | None,
) -> None:
    """Add the job to an environment.

    Parameters
    ----------
    records
        Length of a source that ends; None for a watched folder, a stream, or a topic.

    Raises
    ------
    SettingsError
        If Flink lacks what the job needs, or what should be a stream of Redis is none.
    model_store.errors.StoreError
        If the Redis with the streams is out of reach.
    """
    tables = StreamTableEnvironment.create(env)
    sinks = _sinks(env, tables, job, connection)
    if isinstance(job.source, KafkaSourceSettings):
        read = read_topics(tables, job, job.source)
    elif isinstance(job.source, RedisSourceSettings):
        read = _stream(tables, job, job.source, connection)
    elif records is None:
        read = _watch(tables, job, connection)
    else:
        read = _read(env, job, connection, records)
    # (shard, chunk of events)
    sinks.write(read.get_side_output(DEAD_LETTERS), output.DEAD_LETTERS)

    decided = (
        read.key_by(lambda chunk: chunk[0], Types.INT())
        .process(CascadeFunction(job, connection), LINES)
        .name("cascade")
        .uid("cascade")
        .set_parallelism(job.flink.parallelism)
    )
    # decisions of the small levels, as lines; deferrals on the side

    verdicts = (
        decided.get_side_output(DEFERRALS)
        .key_by(lambda chunk: chunk[0], Types.INT())
        .process(ExpertFunction(job, connection), VERDICTS)
        .name("expert")
        .uid("expert")
        .set_parallelism(job.flink.parallelism)
    )
    # (decisions as lines, lesson)

    answered = (
        verdicts.process(AnswersFunction(job.task.labels), LINES)
        .name("answers")
        .uid("answers")
        .set_parallelism(job.flink.parallelism)
    )
    sinks.write(decided.union(answered), output.DECISIONS)
    sinks.write(answered.get_side_output(ANNOTATIONS), output.ANNOTATIONS)
    sinks.write(answered.get_side_output(EVIDENCE), output.EVIDENCE)

    task = job.task.name
    released = (
        verdicts.key_by(lambda _: task, Types.STRING())
        .process(TrainerFunction(job, connection), LINES)
        .name("trainer")
        .uid("trainer")
        .set_parallelism(1)
    )
    sinks.write(released, output.RELEASES)


def _sinks(
    env: StreamExecutionEnvironment,
    tables: StreamTableEnvironment,
    job: JobSettings,
    connection: StoreConnection,
) -> Sinks:
    if isinstance(job.sink, KafkaSinkSettings):
        run = f"{connection.namespace}.{connection.task}.{connection.run}"
        return KafkaSinks(env, tables, job.sink, run)
    return FileSinks(job.sink.path)


def _read(
    env: StreamExecutionEnvironment, job: JobSettings, connection: StoreConnection, records: int
) -> DataStream:
    end, last = numbers(job, records)
    read = (
        env.from_source(
            NumberSequenceSource(0, last), WatermarkStrategy.no_watermarks(), "blocks", Types.LONG()
        )
        .uid("blocks")
        .set_parallelism(1)
        .process(BlockReader(job, connection, end), CHUNK)
        .name("read")
        .uid("read")
        .set_parallelism(1)
    )
    _one_record_a_bundle(read)
    # Chained to its source on purpose: all numbers of a file fit into one network buffer, and a
    # checkpoint's barrier behind them would have to wait for the whole file.
    return read


def _watch(
    tables: StreamTableEnvironment, job: JobSettings, connection: StoreConnection
) -> DataStream:
    return _ticked(tables, _FOLDER_TICKS, FolderReader(job, connection))


def _stream(
    tables: StreamTableEnvironment,
    job: JobSettings,
    source: RedisSourceSettings,
    connection: StoreConnection,
) -> DataStream:
    streams = streams_connection(source, connection)
    with closing(streams.redis()) as redis:
        beginnings = RedisStreams(redis, source).beginnings()
    reader = StreamReader(job, connection, streams, beginnings)
    return _ticked(tables, _STREAM_TICKS, reader)


def _ticked(
    tables: StreamTableEnvironment, per_second: int, reader: KeyedProcessFunction
) -> DataStream:
    """The output of a reader that ticks wake, which never end."""
    ticks = TableDescriptor.for_connector("datagen").option("rows-per-second", str(per_second))
    schema = Schema.new_builder().column("tick", DataTypes.INT()).build()
    ticking = tables.to_data_stream(tables.from_descriptor(ticks.schema(schema).build()))
    name_planned(transformation_of(ticking), "ticks")
    return (
        ticking.key_by(lambda _: 0, Types.INT())
        .process(reader, CHUNK)
        .name("read")
        .uid("read")
        .set_parallelism(1)
    )


def _one_record_a_bundle(stream: DataStream) -> None:
    """Have an operator's output flushed after each record.

    PyFlink has no call for it, but an operator's own configuration wins over the job's.
    """
    operator = transformation_of(stream).getOperatorFactory().getOperator()
    operator.getConfiguration().setString("python.fn-execution.bundle.size", "1")

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

from pyflink.common import Types, WatermarkStrategy
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.number_seq import NumberSequenceSource
from pyflink.table import DataTypes, Schema, StreamTableEnvironment, TableDescriptor

from flink_job.output import DEAD_LETTERS as DEAD_LETTER_FOLDER
from flink_job.output import DECISIONS, RELEASES
from flink_job.settings import JobSettings
from flink_job.sinks import write_lines
from flink_job.sources.block_reader import BlockReader, numbers
from flink_job.sources.folder_reader import FolderReader
from operators.flink.cascade import CascadeFunction
from operators.flink.connection import StoreConnection
from operators.flink.expert import ExpertFunction
from operators.flink.trainer import TrainerFunction
from operators.flink.types import CHUNK, DEAD_LETTERS, DEFERRALS, LINES, VERDICTS

_TICKS_PER_SECOND = 10  # of a watched folder: each reads one block


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
        Length of a bounded source in records; None to watch a folder for ever.
    """
    read = _watch(env, job, connection) if records is None else _read(env, job, connection, records)
    # (shard, chunk of events)
    write_lines(read.get_side_output(DEAD_LETTERS), job.sink.path, DEAD_LETTER_FOLDER)

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

    answered = verdicts.map(lambda verdict: verdict[0], LINES)
    answered.name("answers").uid("answers").set_parallelism(job.flink.parallelism)
    write_lines(decided.union(answered), job.sink.path, DECISIONS)

    task = job.task.name
    released = (
        verdicts.key_by(lambda _: task, Types.STRING())
        .process(TrainerFunction(job, connection), LINES)
        .name("trainer")
        .uid("trainer")
        .set_parallelism(1)
    )
    write_lines(released, job.sink.path, RELEASES)


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
    env: StreamExecutionEnvironment, job: JobSettings, connection: StoreConnection
) -> DataStream:
    tables = StreamTableEnvironment.create(env)
    ticks = TableDescriptor.for_connector("datagen").option(
        "rows-per-second", str(_TICKS_PER_SECOND)
    )
    schema = Schema.new_builder().column("tick", DataTypes.INT()).build()
    ticking = tables.to_data_stream(tables.from_descriptor(ticks.schema(schema).build()))
    _name_planned(ticking, "ticks")
    return (
        ticking.key_by(lambda _: 0, Types.INT())
        .process(FolderReader(job, connection), CHUNK)
        .name("read")
        .uid("read")
        .set_parallelism(1)
    )


def _one_record_a_bundle(stream: DataStream) -> None:
    """Have an operator's output flushed after each record.

    PyFlink has no call for it, but an operator's own configuration wins over the job's.
    """
    transformation = stream._j_data_stream.getTransformation()  # noqa: SLF001  # no public way
    operator = transformation.getOperatorFactory().getOperator()
    operator.getConfiguration().setString("python.fn-execution.bundle.size", "1")


def _name_planned(stream: DataStream, prefix: str) -> None:
    """Give stable uids to the operators that the table planner made for a stream.

    The planner numbers them by what else it has planned, and a savepoint finds its state by uid.
    """
    waiting, number = [stream._j_data_stream.getTransformation()], 0  # noqa: SLF001  # no public way
    while waiting:
        planned = waiting.pop()
        if planned.getUid() is None:
            planned.setUid(f"{prefix}-{number}")
        number += 1
        waiting.extend(planned.getInputs())

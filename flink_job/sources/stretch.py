"""A stretch of a topic's partition as events by shard and dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from flink_job.settings import JobSettings
from flink_job.sources.blocks import Block
from flink_job.sources.parsing import parse, shard_of
from flink_job.sources.reading import Row, read_object
from operators.records import DeadLetter, Event


@dataclass(frozen=True)
class Stretch:
    """Records of one partition, in their order: three sequences of one length.

    Parameters
    ----------
    offsets
        Where they stand.
    times
        When they were written, in UTC, as in ``2026-01-31 23:59:59.123``.
    contents
        Their values; None for a record that has none.
    """

    topic: str
    partition: int
    offsets: Sequence[int]
    times: Sequence[str | None]
    contents: Sequence[bytes | None]


def read_stretch(job: JobSettings, stretch: Stretch) -> Block:
    """The events of a stretch by shard, in their order, and its dead letters.

    An event without an id gets its place in the topic as one, which a replay gives again.
    """
    fields, source = job.source.fields, f"{stretch.topic}-{stretch.partition}"
    block = Block({}, [])
    for offset, time, content in zip(stretch.offsets, stretch.times, stretch.contents, strict=True):
        if content is None:
            row = Row(offset, None, "the record has no value")
        else:
            row = read_object(offset, bytes(content))
        event = parse(row, source, job.task.name, fields, job.recorded_column)
        if isinstance(event, DeadLetter):
            block.dead.append(event)
            continue
        if fields.time is None and time:
            event = msgspec.structs.replace(event, time=f"{time.replace(' ', 'T')}Z")
        block.chunks.setdefault(shard_of(event.key, job.flink.shards), []).append(event)
    return block


def cut(events: Sequence[Event], size: int) -> list[Sequence[Event]]:
    """A chunk as chunks of at most `size` events."""
    return [events[begin : begin + size] for begin in range(0, len(events), size)]

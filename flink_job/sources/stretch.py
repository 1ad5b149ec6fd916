"""A stretch of a topic's partition, or of a stream, as events by shard and dead letters."""

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
    """Records of one partition or stream, in their order: three sequences of one length.

    Parameters
    ----------
    source
        What they are records of.
    places
        Where they stand in it: offsets, or ids of entries.
    times
        When they were written, in UTC, as in ``2026-01-31 23:59:59.123``.
    contents
        Their values; None for a record that has none.
    """

    source: str
    places: Sequence[int | str]
    times: Sequence[str | None]
    contents: Sequence[bytes | None]


def read_stretch(job: JobSettings, stretch: Stretch, empty: str) -> Block:
    """The events of a stretch by shard, in their order, and its dead letters.

    An event without an id gets its place in the source as one, which a replay gives again.

    Parameters
    ----------
    empty
        What is wrong with a record that has no value.
    """
    fields = job.source.fields
    block = Block({}, [])
    for place, time, content in zip(stretch.places, stretch.times, stretch.contents, strict=True):
        row = Row(place, None, empty) if content is None else read_object(place, bytes(content))
        event = parse(row, stretch.source, job.task.name, fields, job.recorded_column)
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

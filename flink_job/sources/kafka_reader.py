"""Turns what has gathered of a topic's partition into chunks of events, inside Flink."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyflink.datastream.functions import ProcessFunction

from flink_job.settings import JobSettings
from flink_job.sources.stretch import Stretch, cut, read_stretch
from operators.flink.types import DEAD_LETTERS, TICK
from operators.records import pack, to_json_lines

_LARGEST_CHUNK = 512  # events; after a standstill much more than that has gathered


class KafkaReader(ProcessFunction):
    """(topic, partition, offsets, times, contents) in; (shard, chunk of events) out.

    Without state: what was read and not yet handed over is in the window before it. A topic of
    None is a tick, passed on to every shard.
    """

    def __init__(self, job: JobSettings) -> None:
        self._job = job

    def process_element(self, value: Any, ctx: ProcessFunction.Context) -> Iterator[Any]:
        """Cut one stretch of a partition into chunks."""
        if value[0] is None:
            for shard in range(self._job.flink.shards):
                yield shard, TICK
            return
        topic, partition, *records = value
        stretch = Stretch(f"{topic}-{partition}", *records)
        block = read_stretch(self._job, stretch, "the record has no value")
        if block.dead:
            yield DEAD_LETTERS, to_json_lines(block.dead)
        for shard, events in block.chunks.items():
            for part in cut(events, _LARGEST_CHUNK):
                yield shard, pack(part)

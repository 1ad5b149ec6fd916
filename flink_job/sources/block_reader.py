"""Reads a bounded source inside Flink: block numbers in, chunks of events out, at a pace."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pyflink.datastream.functions import ProcessFunction, RuntimeContext

from flink_job.settings import JobSettings
from flink_job.sources.blocks import Blocks
from flink_job.sources.pacing import Pacer, waits_at_the_end
from operators.flink.connection import StoreConnection
from operators.flink.types import DEAD_LETTERS, END, TICK
from operators.records import pack, to_json_lines
from operators.settings import OpenAIExpertSettings

_POLL_S = 0.002


class BlockReader(ProcessFunction):
    """Turns the numbers of a sequence source into blocks of the job's files.

    Must run with bundles of one record: what it has emitted has to be on its way while it waits
    for the loop.

    Parameters
    ----------
    end
        The number after the last block.
    """

    def __init__(self, job: JobSettings, connection: StoreConnection, end: int) -> None:
        self._job = job
        self._end = end
        self._waits = last_waits(job)
        self._connection = connection

    def open(self, runtime_context: RuntimeContext) -> None:
        """Open the files."""
        self._blocks = Blocks(self._job)
        ledger = self._connection.ledger()
        self._pacer = Pacer(ledger, self._job.files.max_lag, time.monotonic)

    def process_element(self, value: int, ctx: ProcessFunction.Context) -> Iterator[Any]:
        """Read one block when it is time; after the last, see the stream to its end."""
        if value >= self._end:
            yield from self._finish(value - self._end)
            return
        while not self._pacer.ready():
            time.sleep(_POLL_S)
        block = self._blocks.read(value)
        self._pacer.emitted(block.events)
        if block.dead:
            yield DEAD_LETTERS, to_json_lines(block.dead)
        for shard, events in block.chunks.items():
            yield shard, pack(events)

    def _finish(self, turn: int) -> Iterator[tuple[int, bytes]]:
        """Wait a while for the last answers, or tell every shard that nothing more will come."""
        ends = turn == len(self._waits)
        if not ends:
            until = time.monotonic() + self._waits[turn]
            while not (settled := self._pacer.settled()) and time.monotonic() < until:
                time.sleep(_POLL_S)
            if settled:
                return
        for shard in range(self._job.flink.shards):
            yield shard, END if ends else TICK


def last_waits(job: JobSettings) -> list[float]:
    """Turns of the reader between the last block and the end, in seconds each."""
    expert = job.expert
    if not isinstance(expert, OpenAIExpertSettings):
        return []
    retry = expert.retry
    return waits_at_the_end(retry.attempts * (expert.timeout_s + retry.longest_wait_s))


def numbers(job: JobSettings, records: int) -> tuple[int, int]:
    """The number after the last block of so many records, and the last number of all."""
    end = -(-records // job.files.block)
    return end, end + len(last_waits(job))

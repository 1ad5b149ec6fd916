"""Reads a bounded source inside Flink: block numbers in, chunks of events out, at a pace."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pyflink.datastream.functions import ProcessFunction, RuntimeContext

from flink_job.settings import JobSettings
from flink_job.sources.blocks import Blocks
from flink_job.sources.pacing import Pacer
from operators.flink.connection import StoreConnection
from operators.flink.types import DEAD_LETTERS
from operators.records import pack, to_json_lines

_POLL_S = 0.002


class BlockReader(ProcessFunction):
    """Turns the numbers of a sequence source into blocks of the job's files.

    Must run with bundles of one record: what it has emitted has to be on its way while it waits
    for the loop.
    """

    def __init__(self, job: JobSettings, connection: StoreConnection) -> None:
        self._job = job
        self._connection = connection

    def open(self, runtime_context: RuntimeContext) -> None:
        """Open the files."""
        self._blocks = Blocks(self._job)
        ledger = self._connection.ledger()
        self._pacer = Pacer(ledger, self._job.source.max_lag, time.monotonic)

    def process_element(self, value: int, ctx: ProcessFunction.Context) -> Iterator[Any]:
        """Read one block when it is time."""
        while not self._pacer.ready():
            time.sleep(_POLL_S)
        block = self._blocks.read(value)
        self._pacer.emitted(block.events)
        if block.dead:
            yield DEAD_LETTERS, to_json_lines(block.dead)
        for shard, events in block.chunks.items():
            yield shard, pack(events)

"""Reads a bounded source inside Flink: block numbers in, chunks of events out, at learning's pace."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

from pyflink.datastream.functions import ProcessFunction, RuntimeContext

from flink_job.settings import JobSettings
from flink_job.sources.blocks import Blocks
from model_store.errors import StoreError
from model_store.ledger import Usage
from operators.flink.connection import StoreConnection
from operators.flink.types import DEAD_LETTERS
from operators.records import pack, to_json_lines

_log = logging.getLogger(__name__)
_POLL_S = 0.002
_PATIENCE_S = 5.0  # without any progress; then the source reads on, whatever holds up the loop


class BlockReader(ProcessFunction):
    """Turns the numbers of a sequence source into blocks of the job's files.

    A file could be read in seconds, long before the expert has taught the cascade anything. So
    before each block the reader waits until the cascade has decided the earlier ones, and no more
    than `max_lag` deferrals lack a verdict. It must run with bundles of one record: what it has
    emitted has to be on its way while it waits.
    """

    def __init__(self, job: JobSettings, connection: StoreConnection) -> None:
        self._job = job
        self._connection = connection

    def open(self, runtime_context: RuntimeContext) -> None:
        """Open the files."""
        self._blocks = Blocks(self._job)
        self._ledger = self._connection.ledger()
        self._emitted = 0
        self._base: int | None = None  # events that were decided before this reader began

    def process_element(self, value: int, ctx: ProcessFunction.Context) -> Iterator[Any]:
        """Read one block when it is time."""
        self._wait()
        block = self._blocks.read(value)
        self._emitted += block.events
        if block.dead:
            yield DEAD_LETTERS, to_json_lines(block.dead)
        for shard, events in block.chunks.items():
            yield shard, pack(events)

    def _wait(self) -> None:
        last, since = None, time.monotonic()
        while True:
            try:
                usage = self._ledger.usage()
            except StoreError as error:
                _log.warning("reading without pacing: %s", error)
                return
            if self._may_go_on(usage):
                return
            now = time.monotonic()
            if usage != last:
                last, since = usage, now
            elif now - since > _PATIENCE_S:
                _log.warning("no progress for %s s; reading on", _PATIENCE_S)
                self._base = usage.seen - self._emitted
                return
            time.sleep(_POLL_S)

    def _may_go_on(self, usage: Usage) -> bool:
        # After a restore the counts of the shards fall back, and the base with them.
        self._base = usage.seen if self._base is None else min(self._base, usage.seen)
        decided = usage.seen - self._base >= self._emitted
        return decided and usage.deferred - usage.settled <= self._job.source.max_lag

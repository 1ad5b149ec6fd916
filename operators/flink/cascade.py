"""The cascade inside Flink: keyed by shard, one chunk at a time, releases taken up in between."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from model_store.errors import StoreUnavailable
from operators.assembly import build_cascade
from operators.core.uptake import ReleaseUptake
from operators.flink.connection import StoreConnection
from operators.flink.telemetry import CascadeTelemetry
from operators.flink.types import BYTES, DEFERRALS, END, TICK
from operators.records import Event, pack, to_json_lines, unpack
from operators.settings import CascadeSettings

_log = logging.getLogger(__name__)


class CascadeFunction(KeyedProcessFunction):
    """Chunk of events in; decisions out, deferrals on the side.

    Every event leaves in the call that brought it: nothing waits in a buffer, so nothing can be
    stranded at the end of the source or lost by a restore. State is the shard's counters and
    latest scores, touched once a chunk.
    """

    def __init__(self, settings: CascadeSettings, connection: StoreConnection) -> None:
        self._settings = settings
        self._connection = connection

    def open(self, runtime_context: RuntimeContext) -> None:
        """Build the cascade; the first release is looked for with the first chunk."""
        self._state = runtime_context.get_state(ValueStateDescriptor("shard", BYTES))
        store = self._connection.store()
        self._cascade = build_cascade(self._settings, self._connection.ledger())
        watcher = self._connection.watcher(store)
        self._uptake = ReleaseUptake(
            self._connection.task,
            self._cascade,
            store,
            watcher,
            ThreadPoolExecutor(1, thread_name_prefix="release"),
        )
        group = runtime_context.get_metrics_group()
        self._telemetry = CascadeTelemetry(group, self._settings, self._cascade, watcher)

    def process_element(
        self, value: tuple[int, bytes], ctx: KeyedProcessFunction.Context
    ) -> Iterator[Any]:
        """Decide one chunk."""
        self._take_up_release()
        number, data = value
        if bytes(data) in (TICK, END):
            yield DEFERRALS, (number, data)
            return
        shard = str(number)
        if not self._cascade.knows(shard):
            kept = self._state.value()
            self._cascade.restore(shard, bytes(kept) if kept is not None else None)
        events = unpack(bytes(data), Event)
        outcome = self._cascade.decide(shard, events)
        self._state.update(self._cascade.snapshot(shard))
        self._telemetry.chunk(len(events), outcome)
        if self._cascade.ledger_error is not None:
            _log.warning("ledger out of reach, going by own counts: %s", self._cascade.ledger_error)
        if outcome.deferrals:
            yield DEFERRALS, (number, pack(outcome.deferrals))
        if outcome.decisions:
            yield to_json_lines(outcome.decisions)

    def _take_up_release(self) -> None:
        """Serve the head if it moved. A release that does not load leaves the old one serving."""
        taken = self._uptake.take_up()
        if taken is None:
            return
        if isinstance(taken.error, StoreUnavailable):
            _log.warning("release %s not loaded yet: %s", taken.release, taken.error)
        elif taken.error is not None:
            self._telemetry.rejected.add()
            serving = self._cascade.release
            _log.error("release %s rejected, %s stays: %s", taken.release, serving, taken.error)
        else:
            self._telemetry.swaps.add()

    def close(self) -> None:
        """End the subscription."""
        self._uptake.close()

"""The cascade inside Flink: keyed by shard, one chunk at a time, releases taken up in between."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from model_store.errors import StoreUnavailable
from operators.assembly import build_cascade
from operators.core.uptake import ReleaseUptake
from operators.flink.connection import StoreConnection
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
        self._uptake = ReleaseUptake(
            self._connection.task,
            self._cascade,
            store,
            self._connection.watcher(store),
            ThreadPoolExecutor(1, thread_name_prefix="release"),
        )
        metrics = runtime_context.get_metrics_group().add_group("cascade")
        self._events = metrics.counter("events")
        self._deferred = metrics.counter("deferred")
        self._swaps = metrics.counter("swaps")
        self._rejected = metrics.counter("rejected_releases")
        for level, on_gpu in self._cascade.on_gpu.items():
            metrics.add_group("level", level).gauge("on_gpu", partial(int, on_gpu))

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
        self._events.inc(len(events))
        self._deferred.inc(len(outcome.deferrals))
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
            self._rejected.inc()
            serving = self._cascade.release
            _log.error("release %s rejected, %s stays: %s", taken.release, serving, taken.error)
        else:
            self._swaps.inc()

    def close(self) -> None:
        """End the subscription."""
        self._uptake.close()

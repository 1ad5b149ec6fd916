"""The expert inside Flink: calls are under way beside the stream, their deferrals are state."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

from pyflink.common import Types
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

from operators.assembly import build_calls
from operators.core.verdicts import to_decision, to_lesson
from operators.expert.calls import Answered
from operators.flink.connection import StoreConnection
from operators.flink.telemetry import ExpertTelemetry
from operators.flink.types import BYTES, END, TICK
from operators.records import Deferral, pack, to_json_lines, unpack
from operators.settings import CascadeSettings, RecordedExpertSettings

_LOOK_AGAIN_MS = 50
_LOST_MS = 1000  # a timer that is so late did not survive a restore


class ExpertFunction(KeyedProcessFunction):
    """Chunk of deferrals in; decisions and lessons out as the answers come, in their order.

    No record, no checkpoint and no other event waits for a call. A deferral is state from when it
    comes until its verdict goes out, so after a failure it is asked again, or gets the answer that
    the ledger remembers. A timer looks for answers while there are calls; one that is lost in a
    restore is set again by whatever comes next to the shard. Raises for nothing the expert does.

    What is known to be spent is state, too, so that it stays spent if the ledger forgets it while
    this subtask starts again; each shard keeps what its subtask knew.
    """

    def __init__(self, settings: CascadeSettings, connection: StoreConnection) -> None:
        self._settings = settings
        self._connection = connection

    def open(self, runtime_context: RuntimeContext) -> None:
        """Begin with no call under way; what the state holds is handed over shard by shard."""
        self._pending = runtime_context.get_map_state(
            MapStateDescriptor("pending", Types.STRING(), BYTES)
        )
        self._spent = runtime_context.get_state(ValueStateDescriptor("spent", BYTES))
        self._telemetry = ExpertTelemetry(runtime_context.get_metrics_group(), time.monotonic)
        subtask = runtime_context.get_index_of_this_subtask()
        self._ledger = self._connection.ledger(f"expert-{subtask}")
        told = self._telemetry
        self._calls = build_calls(self._settings, self._ledger, told.call_failed, told.took_more)
        # A record is at hand at once: there is nothing to come back for.
        self._at_once = isinstance(self._settings.expert, RecordedExpertSettings)
        self._known: set[str] = set()
        self._kept: dict[str, bytes] = {}
        self._timers: dict[str, int] = {}

    def process_element(
        self, value: tuple[int, bytes], ctx: KeyedProcessFunction.Context
    ) -> Iterator[tuple[str, bytes]]:
        """Take in a chunk of deferrals, a tick, or the end of the shard's stream."""
        shard, data = str(value[0]), bytes(value[1])
        self._recover(shard)
        if data not in (TICK, END):
            fresh = {uuid.uuid4().hex: deferral for deferral in unpack(data, Deferral)}
            for name, deferral in fresh.items():
                self._pending.put(name, pack([deferral]))
            self._telemetry.taken(fresh)
            self._calls.hand_over(shard, fresh)
        # At its end a stream has nothing else to do, and timers do not outlive it.
        wait = self._at_once or data == END
        yield from self._emit(self._calls.wait_for(shard) if wait else self._calls.collect(shard))
        self._keep(shard)
        self._come_back(shard, ctx)

    def on_timer(
        self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext
    ) -> Iterator[tuple[str, bytes]]:
        """Look for answers."""
        shard = str(ctx.get_current_key())
        self._recover(shard)
        self._timers.pop(shard, None)
        yield from self._emit(self._calls.collect(shard))
        self._keep(shard)
        self._come_back(shard, ctx)

    def close(self) -> None:
        """Abandon the calls under way: their deferrals are in the state."""
        self._calls.close()

    def _recover(self, shard: str) -> None:
        """Hand over what the state of a shard holds from before this object was made."""
        if shard not in self._known:
            self._known.add(shard)
            spent = self._spent.value()
            if spent is not None:
                self._ledger.testify(bytes(spent))
            held = {name: unpack(bytes(data), Deferral)[0] for name, data in self._pending.items()}
            self._telemetry.taken(held)
            self._calls.hand_over(shard, held)

    def _emit(self, answered: Answered) -> Iterator[tuple[str, bytes]]:
        if not answered:
            return
        for name, _ in answered:
            self._pending.remove(name)
        self._telemetry.answered(answered)
        labels = self._settings.task.labels
        verdicts = [verdict for _, verdict in answered]
        decisions = [to_decision(verdict, labels) for verdict in verdicts]
        yield to_json_lines(decisions), pack([to_lesson(verdicts, labels)])

    def _keep(self, shard: str) -> None:
        """Have what is known to be spent outlive this object."""
        known = self._ledger.testimony()
        if known != self._kept.get(shard, b""):
            self._kept[shard] = known
            self._spent.update(known)

    def _come_back(self, shard: str, ctx: KeyedProcessFunction.Context) -> None:
        if not self._calls.under_way(shard):
            return
        timers = ctx.timer_service()
        now = timers.current_processing_time()
        if self._timers.get(shard, 0) < now - _LOST_MS:
            self._timers[shard] = now + _LOOK_AGAIN_MS
            timers.register_processing_time_timer(now + _LOOK_AGAIN_MS)

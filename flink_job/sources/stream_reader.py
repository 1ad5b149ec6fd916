"""Reads Redis Streams inside Flink: chunks of events out, positions in keyed state."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from flink_job.settings import JobSettings, SettingsError
from flink_job.source_settings import RedisSourceSettings
from flink_job.sources.pacing import Pacer
from flink_job.sources.redis_streams import Look, RedisStreams, read_look
from flink_job.sources.standing import Standing, advance
from model_store.errors import StoreUnavailable
from operators.flink.connection import StoreConnection
from operators.flink.types import BYTES, DEAD_LETTERS, TICK
from operators.records import DeadLetter, pack, to_json_lines

_AFTER_FAILURE_MS = 1000  # each failure may have taken the client's timeouts
_MORE_MS = 1  # where a look has found as much as it may
_LOST_MS = 1000  # a timer that is so late did not survive a restore
_log = logging.getLogger(__name__)


class Position(msgspec.Struct):
    """How far each stream is read, by its name."""

    version: int = 1
    streams: dict[str, Standing] = {}


class StreamReader(KeyedProcessFunction):
    """Reads what each stream holds behind its position, when a timer has it look.

    A position moves with what is emitted, so a replay reads the same entries again, for as long as
    Redis holds them. A timer that is lost in a restore is set again by the next tick. Ticks come
    from a source in the JVM that never ends.

    Parameters
    ----------
    connection
        To the job's store, by which the source is held up if it has a `max_lag`.
    streams
        To the Redis with the streams.
    beginnings
        Behind which id a stream begins that the state does not know.
    """

    def __init__(
        self,
        job: JobSettings,
        connection: StoreConnection,
        streams: StoreConnection,
        beginnings: dict[str, str],
    ) -> None:
        self._job = job
        self._connection = connection
        self._at = streams
        self._beginnings = beginnings

    def open(self, runtime_context: RuntimeContext) -> None:
        """Declare the position."""
        source = self._job.source
        assert isinstance(source, RedisSourceSettings)
        self._source = source
        self._state = runtime_context.get_state(ValueStateDescriptor("position", BYTES))
        self._streams = RedisStreams(self._at.redis(), source)
        self._pacer = None
        if source.max_lag is not None:
            self._pacer = Pacer(self._connection.ledger(), source.max_lag, time.monotonic)
        self._next_ms = 0
        self._failing: set[str] = set()

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        """Pass a tick on to every shard, and see to it that there is a timer."""
        for shard in range(self._job.flink.shards):
            yield shard, TICK
        timers = ctx.timer_service()
        if self._next_ms < timers.current_processing_time() - _LOST_MS:
            self._come_back(timers, 0)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        """Read on in every stream."""
        if timestamp != self._next_ms:
            return  # from before a restore, or given up as lost: there is another one
        wait_ms = self._source.chunk_ms
        if self._pacer is None or self._pacer.ready():
            kept = self._state.value()
            position = msgspec.msgpack.decode(bytes(kept), type=Position) if kept else Position()
            for stream in self._source.streams:
                standing = position.streams.get(stream) or Standing(self._beginnings[stream])
                try:
                    look = self._streams.look(stream, standing.last, self._source.block)
                except SettingsError as error:  # a key of that name is no stream, or no longer
                    self._failed(stream, error)
                    continue
                except StoreUnavailable as error:
                    self._failed(stream, error)
                    wait_ms = _AFTER_FAILURE_MS
                    break  # each may take as long to fail
                self._works(stream)
                position.streams[stream], lost = advance(standing, look)
                if lost is not None:
                    _log.warning("%s: %s", stream, lost)
                    yield DEAD_LETTERS, to_json_lines([DeadLetter(stream, standing.last, lost, "")])
                if look is not None:
                    yield from self._emit(stream, look)
                    if len(look.ids) == self._source.block:
                        wait_ms = _MORE_MS
            self._state.update(msgspec.msgpack.encode(position))
        self._come_back(ctx.timer_service(), wait_ms)

    def _emit(self, stream: str, look: Look) -> Iterator[Any]:
        block = read_look(self._job, self._source, stream, look)
        if self._pacer is not None:
            self._pacer.emitted(block.events)
        if block.dead:
            yield DEAD_LETTERS, to_json_lines(block.dead)
        for shard, events in block.chunks.items():
            yield shard, pack(events)

    def _come_back(self, timers: Any, wait_ms: int) -> None:
        self._next_ms = timers.current_processing_time() + wait_ms
        timers.register_processing_time_timer(self._next_ms)

    def _failed(self, stream: str, error: Exception) -> None:
        # Errors of one outage differ; only its beginning and its end are news.
        if stream not in self._failing:
            self._failing.add(stream)
            _log.warning("%s is waited for: %s", stream, error)

    def _works(self, stream: str) -> None:
        if stream in self._failing:
            self._failing.remove(stream)
            _log.warning("%s can be read again", stream)

"""Watches a folder inside Flink: ticks in, chunks of events out, position in keyed state."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from flink_job.settings import JobSettings, SettingsError
from flink_job.sources.blocks import to_block
from flink_job.sources.pacing import Pacer
from flink_job.sources.reading import Row, is_input, read_rows
from operators.flink.connection import StoreConnection
from operators.flink.types import BYTES, DEAD_LETTERS, TICK
from operators.records import DeadLetter, pack, to_json_lines

_TICK_S = 1.0  # for whatever waits along a shard to which nothing else comes
# Names of files that were read and are gone. A folder that seems empty, for its disk is not there,
# is no reason to forget them: they would be read again.
_REMEMBERED = 1000
_log = logging.getLogger(__name__)


class Position(msgspec.Struct):
    """How far the folder is read: files that are done, and the row of the one being read."""

    version: int = 1
    done: set[str] = set()
    current: str | None = None
    row: int = 0


class FolderReader(KeyedProcessFunction):
    """Reads one block at each tick, from files in the order of their names.

    Ticks come from a JVM source that never ends, so no timer has to survive a restore. Files must
    not change once they are there.
    """

    def __init__(self, job: JobSettings, connection: StoreConnection) -> None:
        self._job = job
        self._connection = connection

    def open(self, runtime_context: RuntimeContext) -> None:
        """Declare the position."""
        self._state = runtime_context.get_state(ValueStateDescriptor("position", BYTES))
        self._rows: Iterator[Row] | None = None
        self._clock = time.monotonic
        self._ticked_s = self._clock()
        ledger = self._connection.ledger()
        self._pacer = Pacer(ledger, self._job.files.max_lag, time.monotonic)

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        """Read the next block, if there is one and the loop keeps up."""
        if self._clock() - self._ticked_s >= _TICK_S:
            self._ticked_s = self._clock()
            for shard in range(self._job.flink.shards):
                yield shard, TICK
        if not self._pacer.ready():
            return
        kept = self._state.value()
        position = msgspec.msgpack.decode(bytes(kept), type=Position) if kept else Position()
        path = self._file(position)
        if path is None:
            return
        dead: list[DeadLetter] = []
        rows: list[Row] = []
        try:
            for row in self._read(path, position):
                rows.append(row)  # noqa: PERF402  # rows before the damage are kept
        except (OSError, SettingsError) as error:
            _log.warning("the rest of %s is left out: %s", path, error)
            last = rows[-1].line if rows else position.row
            dead.append(DeadLetter(path.name, last, str(error), ""))
        block = to_block(self._job, [(path, row) for row in rows])
        if len(rows) < self._job.files.block:
            position.done.add(path.name)
            position.current, self._rows = None, None
        else:
            position.row += len(rows)
        self._pacer.emitted(block.events)
        self._state.update(msgspec.msgpack.encode(position))
        if block.dead or dead:
            yield DEAD_LETTERS, to_json_lines([*block.dead, *dead])
        for shard, events in block.chunks.items():
            yield shard, pack(events)

    def _file(self, position: Position) -> Path | None:
        """The file to read from: the one begun, else the first new one."""
        folder = self._job.files.path
        if position.current is None:
            found = {path.name: path for path in folder.iterdir()}
            if found and len(position.done) > _REMEMBERED:
                position.done &= found.keys()
            names = sorted(
                name
                for name, path in found.items()
                if name not in position.done and is_input(path, self._job.files)
            )
            if not names:
                return None
            position.current, position.row, self._rows = names[0], 0, None
        return folder / position.current

    def _read(self, path: Path, position: Position) -> Iterator[Row]:
        if self._rows is None:
            rows = read_rows(path, self._job.files, self._job.columns)
            self._rows = islice(rows, position.row, None)
        return islice(self._rows, self._job.files.block)

"""Flink's side of a source, in memory: state, and a connection whose ledger never falls behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from model_store.ledger import Usage
from model_store.memory_ledger import MemoryLedger


class FakeState:
    """A value state that keeps what a checkpoint would: bytes."""

    def __init__(self) -> None:
        self.kept: bytes | None = None

    def value(self) -> bytearray | None:
        return None if self.kept is None else bytearray(self.kept)

    def update(self, value: bytes) -> None:
        self.kept = bytes(value)


class FakeContext:
    """A runtime context with one state."""

    def __init__(self, state: FakeState) -> None:
        self.state = state

    def get_state(self, descriptor: Any) -> FakeState:
        return self.state


class FakeTimers:
    """Timers, and the context of whoever sets them; time stands still until one is due."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.due: list[int] = []

    def timer_service(self) -> FakeTimers:
        return self

    def current_processing_time(self) -> int:
        return self.now_ms

    def register_processing_time_timer(self, timestamp: int) -> None:
        self.due = sorted({*self.due, timestamp})

    def pop(self) -> int:
        """The timer that is due next, whose time it becomes."""
        self.now_ms = max(self.now_ms, self.due[0])
        return self.due.pop(0)


class EagerLedger(MemoryLedger):
    """A ledger on which all that was sent is decided at once; `ready` may hold the source up."""

    def __init__(self, ready: Callable[[], bool] = lambda: True) -> None:
        super().__init__(ttl_s=1000.0, monotonic=lambda: 0.0)
        self._ready = ready
        self._seen = 0

    def usage(self) -> Usage:
        if not self._ready():
            return Usage(seen=self._seen, deferred=10**6, settled=0, reserved=0)
        self._seen += 10**6
        return Usage(seen=self._seen, deferred=0, settled=0, reserved=0)


class FakeConnection:
    """A connection to that ledger."""

    def __init__(self, ledger: MemoryLedger | None = None) -> None:
        self._ledger = ledger or EagerLedger()

    def ledger(self) -> MemoryLedger:
        return self._ledger

"""The ledger in the memory of one process: for replays and tests."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

from model_store.ledger import (
    Grant,
    Usage,
    check_progress,
    check_settled,
    check_ttl,
)
from model_store.window import Drawn, Window, check_amounts, check_costs

V = TypeVar("V")


class MemoryLedger:
    """A `Ledger` in the memory of one process, safe for its threads.

    Parameters
    ----------
    ttl_s
        How long ids and answers are remembered, in seconds.
    monotonic
        A clock in seconds that never goes back.
    window
        What may be drawn by the clock.
    """

    def __init__(
        self, *, ttl_s: float, monotonic: Callable[[], float], window: Window | None = None
    ) -> None:
        check_ttl(ttl_s)
        self._lock = Lock()
        self._window = None if window is None else Drawn(window, monotonic)
        self._spent = 0
        self._shards: dict[str, tuple[int, int]] = {}
        self._settled = 0
        self._reserved = 0
        self._retried = 0
        self._disagreeing = 0
        self._refunded = 0
        self._refused = 0
        self._seen_before = 0
        self._reserved_before = 0
        self._begun = False
        self._calls: _Expiring[_Draw] = _Expiring(ttl_s, monotonic)
        self._answers: _Expiring[bytes] = _Expiring(ttl_s, monotonic)

    def begin(self) -> Usage:
        """See `Ledger.begin`."""
        with self._lock:
            self._begun = True
            self._seen_before = self._usage().seen_ever
            self._reserved_before = self._reserved
            self._shards.clear()
            self._settled = self._disagreeing = 0
            self._retried = self._refunded = self._refused = 0
            return self._usage()

    def begun(self) -> bool:
        """See `Ledger.begun`."""
        with self._lock:
            return self._begun

    def progress(self, shard: str, *, seen: int, deferred: int) -> Usage:
        """See `Ledger.progress`."""
        check_progress(seen, deferred)
        with self._lock:
            self._shards[shard] = (seen, deferred)
            return self._usage()

    def settle(self, settled: int, disagreeing: int = 0) -> None:
        """See `Ledger.settle`."""
        check_settled(settled, disagreeing)
        with self._lock:
            self._settled, self._disagreeing = settled, disagreeing

    def usage(self) -> Usage:
        """See `Ledger.usage`."""
        with self._lock:
            return self._usage()

    def reserve(
        self,
        call_ids: Sequence[str],
        cap: int | None,
        *,
        retry: bool = False,
        amounts: Sequence[int] | None = None,
    ) -> list[Grant]:
        """See `Ledger.reserve`."""
        each = check_amounts(call_ids, amounts)
        with self._lock:
            return [
                self._reserve(call_id, cap, retry, amount)
                for call_id, amount in zip(call_ids, each, strict=True)
            ]

    def refund(self, call_ids: Sequence[str], *, retry: bool = False) -> None:
        """See `Ledger.refund`."""
        with self._lock:
            for call_id in call_ids:
                draw = self._calls.get(call_id)
                if draw is not None:
                    self._draw(draw.part, -draw.amount)
                    self._calls.drop(call_id)
                    self._reserved -= 1
                    self._retried -= retry
                    self._refunded += not retry

    def correct(self, costs: Mapping[str, int]) -> None:
        """See `Ledger.correct`."""
        check_costs(costs)
        with self._lock:
            for call_id, cost in costs.items():
                draw = self._calls.get(call_id)
                if draw is not None:
                    self._draw(draw.part, cost - draw.amount)
                    self._calls.put(call_id, _Draw(draw.part, cost))

    def forget(self, call_ids: Sequence[str]) -> None:
        """See `Ledger.forget`."""
        with self._lock:
            for call_id in call_ids:
                self._calls.drop(call_id)

    def remember(self, answers: Mapping[str, bytes]) -> None:
        """See `Ledger.remember`."""
        with self._lock:
            for event_id, answer in answers.items():
                self._answers.put(event_id, answer)

    def recall(self, ids: Sequence[str]) -> dict[str, bytes]:
        """See `Ledger.recall`."""
        with self._lock:
            found = {event_id: self._answers.get(event_id) for event_id in ids}
        return {event_id: answer for event_id, answer in found.items() if answer is not None}

    def testimony(self) -> bytes:
        """See `Ledger.testimony`: this one loses nothing but with its process, and then all."""
        return b""

    def testify(self, testimony: bytes) -> None:
        """See `Ledger.testify`."""
        if testimony:
            message = "a ledger in memory gives no testimony, and takes none"
            raise ValueError(message)

    def _usage(self) -> Usage:
        return Usage(
            seen=sum(seen for seen, _ in self._shards.values()),
            deferred=sum(deferred for _, deferred in self._shards.values()),
            settled=self._settled,
            reserved=self._reserved,
            retried=self._retried,
            disagreeing=self._disagreeing,
            refunded=self._refunded,
            seen_before=self._seen_before,
            reserved_before=self._reserved_before,
            refused=self._refused,
            spent=self._spent,
            drawn=0 if self._window is None else self._window.total(),
        )

    def _reserve(self, call_id: str, cap: int | None, retry: bool, amount: int) -> Grant:
        before = self._calls.get(call_id)
        if before is not None:
            self._calls.put(call_id, before)
            return Grant.AGAIN
        if cap is not None and self._reserved >= cap:
            return Grant.NO
        if self._window is not None and not self._window.fits(amount):
            self._refused += not retry
            return Grant.NO
        part = 0 if self._window is None else self._window.part
        self._draw(part, amount)
        self._reserved += 1
        self._retried += retry
        self._calls.put(call_id, _Draw(part, amount))
        return Grant.NEW

    def _draw(self, part: int, amount: int) -> None:
        if self._window is not None:
            self._window.add(part, amount)
            self._spent += amount


@dataclass(frozen=True)
class _Draw:
    part: int
    amount: int


class _Expiring(Generic[V]):
    # The ttl is one for all, so the order of insertion is the order of expiry.
    def __init__(self, ttl_s: float, monotonic: Callable[[], float]) -> None:
        self._ttl_s = ttl_s
        self._monotonic = monotonic
        self._entries: OrderedDict[str, tuple[float, V]] = OrderedDict()

    def get(self, key: str) -> V | None:
        self._expire()
        entry = self._entries.get(key)
        return None if entry is None else entry[1]

    def put(self, key: str, value: V) -> None:
        self._expire()
        self._entries[key] = (self._monotonic() + self._ttl_s, value)
        self._entries.move_to_end(key)

    def drop(self, key: str) -> None:
        self._entries.pop(key, None)

    def _expire(self) -> None:
        now = self._monotonic()
        while self._entries:
            key, (expires, _) = next(iter(self._entries.items()))
            if expires > now:
                return
            del self._entries[key]

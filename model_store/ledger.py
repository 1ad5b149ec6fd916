"""What is spent on the expert and how far the loop is, shared by all subtasks of a task.

Counts only ever come as absolute numbers or under an id, so that a subtask which replays its
events after a failure neither counts nor pays twice.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from threading import Lock
from typing import Final, Generic, Protocol, TypeVar

from model_store.errors import StoreMisconfigured
from model_store.window import Drawn, Window, check_amounts, check_costs

V = TypeVar("V")
# The unit of expiry in Redis.
_MIN_TTL_S: Final = 0.001


class Grant(IntEnum):
    """Whether a call may be made; true if so."""

    NO = 0
    NEW = 1
    """And was counted for it."""
    AGAIN = 2
    """As it was before, when it was counted and may have been made."""


@dataclass(frozen=True)
class Usage:
    """The counts of a task, over all its shards, since the job began; `reserved` for ever.

    Attributes
    ----------
    seen
        Events decided or deferred.
    deferred
        Events sent to the expert, a part of `seen`.
    settled
        Verdicts that the trainer has consumed.
    reserved
        Calls to the expert that were ever granted, retries included.
    retried
        Retries among them.
    disagreeing
        Audits among the settled that the expert did not confirm.
    refunded
        Deferrals whose call was taken back.
    seen_before
        Events that were seen under the same name before the job began.
    reserved_before
        Calls that were granted before it began, a part of `reserved`.
    refused
        First calls for which the ledger's window had no room.
    spent
        What all granted calls have drawn from the window so far, for ever; 0 without one.
    drawn
        What of it still counts against the window's limit.
    """

    seen: int
    deferred: int
    settled: int
    reserved: int
    retried: int = 0
    disagreeing: int = 0
    refunded: int = 0
    seen_before: int = 0
    reserved_before: int = 0
    refused: int = 0
    spent: int = 0
    drawn: int = 0

    @property
    def seen_ever(self) -> int:
        """Events seen under the name, by this job and those before it."""
        return self.seen_before + self.seen

    @property
    def reserved_here(self) -> int:
        """Calls that were granted since the job began."""
        return self.reserved - self.reserved_before


class Ledger(Protocol):
    """The counts of one task. Every count moves in one atomic step; repeating a call is safe.

    With a `Window`, every call also draws an amount from it, and none is granted beyond its limit:
    by the clock of the ledger, which is one for all subtasks.

    On a network, each may raise `StoreUnavailable`, after which it may or may not have happened.
    """

    def begin(self) -> Usage:
        """Start counting from 0, and return the counts.

        For a job that begins under a name that was used before. What was reserved stays spent,
        the events that were seen stay seen, as counts of before, and ids and answers stay
        remembered.
        """
        ...

    def begun(self) -> bool:
        """Whether a job has begun under the name, and its counts are still known."""
        ...

    def progress(self, shard: str, *, seen: int, deferred: int) -> Usage:
        """Set how far a shard is, and return the counts of all shards together.

        Parameters
        ----------
        shard
            Counted by one subtask at a time.
        seen, deferred
            Of this shard since the job began, not since the last call; a restored shard may go
            back. ``0 <= deferred <= seen``, else `ValueError`.
        """
        ...

    def settle(self, settled: int, disagreeing: int = 0) -> None:
        """Set how many verdicts the trainer has consumed since the job began.

        Parameters
        ----------
        disagreeing
            Audits among them that the expert did not confirm;
            ``0 <= disagreeing <= settled``, else `ValueError`.
        """
        ...

    def usage(self) -> Usage:
        """Return the counts."""
        ...

    def reserve(
        self,
        call_ids: Sequence[str],
        cap: int | None,
        *,
        retry: bool = False,
        amounts: Sequence[int] | None = None,
    ) -> list[Grant]:
        """Grant calls while fewer than `cap` were granted in all, and the window has room.

        Parameters
        ----------
        call_ids
            Any text, one id for each call. An id that was granted within the last ttl is granted
            again without being counted again, even at the cap. An id that was not granted is
            not remembered.
        cap
            The most calls that the job may ever make; None for no limit.
        retry
            Whether these are further calls for events that a call was granted for before.
        amounts
            The most that each call can cost, drawn from the ledger's window until `correct` knows
            better; 1 each if not given. Else than one for each call, or negative, is `ValueError`.

        Returns
        -------
        list of Grant
            In the order of `call_ids`.
        """
        ...

    def refund(self, call_ids: Sequence[str], *, retry: bool = False) -> None:
        """Take back calls that were granted as `Grant.NEW` and reached nobody.

        They are taken out of the count, out of the window and out of memory. An id that is not in
        memory is left alone.
        """
        ...

    def correct(self, costs: Mapping[str, int]) -> None:
        """Have granted calls draw what they have cost, in place of the most that they could cost.

        What was drawn in the meantime stays granted, also if a call cost more than was thought
        possible. An id that is not in memory is left alone, and so keeps what it drew. A negative
        cost is `ValueError`.
        """
        ...

    def forget(self, call_ids: Sequence[str]) -> None:
        """Take granted ids out of memory, not out of the count: another call is a new one.

        For calls that failed for good, so that nobody makes another one for free.
        """
        ...

    def remember(self, answers: Mapping[str, bytes]) -> None:
        """Keep answers of the expert by event id for the ttl, in place of earlier ones."""
        ...

    def recall(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Return those answers that are still there."""
        ...

    def testimony(self) -> bytes:
        """What this client has seen of the counts, to be kept where it outlives both.

        Empty if there is nothing to keep.
        """
        ...

    def testify(self, testimony: bytes) -> None:
        """Raise the counts to at least those of a testimony, with the next call of any kind.

        Of a job that began under the name before the present one it says nothing. Safe to repeat.

        Raises
        ------
        ValueError
            If it is none, or one of another version of this software.
        """
        ...


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


def check_progress(seen: int, deferred: int) -> None:
    """Raise `ValueError` unless ``0 <= deferred <= seen``."""
    if not 0 <= deferred <= seen:
        msg = f"{deferred} deferred of {seen} seen events is impossible"
        raise ValueError(msg)


def check_settled(settled: int, disagreeing: int) -> None:
    """Raise `ValueError` on counts that can not be."""
    if not 0 <= disagreeing <= settled:
        msg = f"{settled} settled verdicts with {disagreeing} disagreeing audits are impossible"
        raise ValueError(msg)


def check_ttl(ttl_s: float) -> None:
    """Raise `StoreMisconfigured` on a ttl below a millisecond."""
    if ttl_s < _MIN_TTL_S:
        raise StoreMisconfigured(
            f"A ttl of {ttl_s} s remembers nothing.",
            "set it well above the longest recovery of the job.",
        )

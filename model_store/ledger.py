"""What is spent on the expert and how far the loop is, shared by all subtasks of a task.

Counts only ever come as absolute numbers or under an id, so that a subtask which replays its
events after a failure neither counts nor pays twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol, TypeVar

from model_store.errors import StoreMisconfigured

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

"""What one client of a ledger has seen, so that a Redis which lost its data can be told of it.

Spending is counted by client, in two numbers that only ever grow: calls granted, calls taken back.
Of two sightings the greater number of each client is the later one, whoever saw it, so a ledger
that forgot is raised to the maximum of what its clients know, in any order and as often as they
like. A client knows all that it was granted itself, and what the others had been when it last
looked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from threading import Lock
from typing import Final

import msgspec

from model_store.ledger import Usage

_VERSION: Final = 1
_NOTHING: Final = Usage(seen=0, deferred=0, settled=0, reserved=0)
_COUNTS: Final = frozenset(field.name for field in fields(Usage))


@dataclass(frozen=True)
class Spent:
    """Calls of one client, since the job began.

    Attributes
    ----------
    granted
        Ever granted and counted.
    returned
        Of those, taken back.
    """

    granted: int = 0
    returned: int = 0

    def within(self, other: "Spent") -> bool:
        """Whether the other is as late, or later."""
        return self.granted <= other.granted and self.returned <= other.returned


@dataclass(frozen=True)
class Sight:
    """What a ledger held at one moment.

    Attributes
    ----------
    epoch
        ``job.life``: the first changes when a job begins, the second when data were lost; None in
        a ledger that holds nothing, or was last written by an older version. The first is empty
        where the ledger was first written by somebody who knows of no job.
    usage
        The counts.
    spent
        By client, a part of ``usage.reserved``.
    base
        The rest of it: from before the job began.
    """

    epoch: str | None = None
    usage: Usage = _NOTHING
    spent: Mapping[str, Spent] = field(default_factory=dict)
    base: int = 0

    @property
    def job(self) -> str:
        """Which job's counts these are; empty if that is not known."""
        return (self.epoch or "").partition(".")[0]


class _Testimony(msgspec.Struct, array_like=True):
    version: int
    epoch: str
    usage: dict[str, int]
    spent: dict[str, tuple[int, int]]
    base: int


class Witness:
    """Remembers the latest sighting, and what this client itself has said; safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sight = Sight()
        self._shards: dict[str, tuple[int, int]] = {}

    def latest(self) -> Sight:
        """The latest of what was seen."""
        with self._lock:
            return self._sight

    def shards(self) -> Iterator[tuple[str, int, int]]:
        """What this client said last of each of its shards: name, seen, deferred."""
        with self._lock:
            said = list(self._shards.items())
        return ((shard, seen, deferred) for shard, (seen, deferred) in said)

    def said(self, shard: str, seen: int, deferred: int) -> None:
        """Note what this client says of a shard."""
        with self._lock:
            self._shards[shard] = (seen, deferred)

    def misses(self, sight: Sight) -> bool:
        """Whether a ledger that looks like this has lost what was seen here."""
        with self._lock:
            mine = self._sight
        if mine.epoch is None:
            return False
        if _began_anew(mine, sight):
            return False
        return sight.epoch != mine.epoch or not all(
            spent.within(sight.spent.get(client, Spent())) for client, spent in mine.spent.items()
        )

    def note(self, sight: Sight) -> None:
        """Remember a sighting. What was seen of a job before the present one counts no more."""
        with self._lock:
            if _began_anew(self._sight, sight):
                self._sight, self._shards = sight, {}
            else:
                self._sight = _later(self._sight, sight)

    def granted(self, client: str, granted: int) -> None:
        """Note how many calls a client was granted by now."""
        with self._lock:
            before = self._sight.spent.get(client, Spent())
            spent = replace(before, granted=max(granted, before.granted))
            self._sight = replace(self._sight, spent={**self._sight.spent, client: spent})

    def testimony(self) -> bytes:
        """What was seen, to be kept where it outlives this process; empty if that is nothing."""
        sight = self.latest()
        if sight.epoch is None:
            return b""
        spent = {client: (one.granted, one.returned) for client, one in sight.spent.items()}
        told = _Testimony(_VERSION, sight.epoch, asdict(sight.usage), spent, sight.base)
        return msgspec.msgpack.encode(told)

    def testify(self, testimony: bytes) -> None:
        """Know what was told; see `testimony`.

        Raises
        ------
        ValueError
            If it is none, or one of another version of this software.
        """
        if not testimony:
            return
        try:
            told = msgspec.msgpack.decode(testimony, type=_Testimony)
        except msgspec.DecodeError as error:
            message = f"what was kept of the ledger can not be read: {error}"
            raise ValueError(message) from error
        if told.version != _VERSION:
            message = (
                f"what was kept of the ledger has version {told.version}, not {_VERSION}: "
                "restore it with the release of this software that wrote it"
            )
            raise ValueError(message)
        spent = {client: Spent(*numbers) for client, numbers in told.spent.items()}
        counts = {name: count for name, count in told.usage.items() if name in _COUNTS}
        sight = Sight(told.epoch, Usage(**counts), spent, told.base)
        with self._lock:
            if not _began_anew(self._sight, sight):
                self._sight = _later(sight, self._sight)  # what was seen here is the later


def _began_anew(before: Sight, now: Sight) -> bool:
    return bool(before.job and now.job and before.job != now.job)


def _later(one: Sight, other: Sight) -> Sight:
    """The later number of each client; all else of the other, unless nothing was seen there."""
    spent = dict(one.spent)
    for client, counts in other.spent.items():
        known = spent.get(client, Spent())
        spent[client] = Spent(
            max(known.granted, counts.granted), max(known.returned, counts.returned)
        )
    told = one if other.epoch is None else other
    return replace(told, spent=spent, base=max(one.base, other.base))

"""Ids of a stream's entries, `milliseconds-sequence`: their order, and the time that is in them.

As text they have another order: 9-0 comes before 10-0.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

BEFORE_ALL = "0-0"
"""No entry has that id, and every entry comes behind it."""
_LARGEST_PART = 2**64 - 1  # of both numbers, in Redis
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parts_of(entry: str) -> tuple[int, int]:
    """The two numbers of an id, which are its order."""
    milliseconds, sequence = entry.split("-")
    return int(milliseconds), int(sequence)


def is_behind(entry: str, other: str) -> bool:
    """Whether an entry comes later in its stream than the other."""
    return parts_of(entry) > parts_of(other)


def last_before(moment: datetime) -> str:
    """The last id that an entry from before a moment can have; without a zone it is in UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    milliseconds = -((_EPOCH - aware) // timedelta(milliseconds=1))  # the first not before it
    return BEFORE_ALL if milliseconds <= 0 else f"{milliseconds - 1}-{_LARGEST_PART}"


def time_in(entry: str) -> str | None:
    """When an entry was added, as in ``2026-01-31 23:59:59.123`` in UTC, by its id.

    None where that is no time: a producer may give ids of its own.
    """
    try:
        moment = _EPOCH + timedelta(milliseconds=parts_of(entry)[0])
    except OverflowError:
        return None
    return moment.replace(tzinfo=None).isoformat(" ", "milliseconds")

"""How far a stream is read, and whether anything was removed from it before it was read."""

from __future__ import annotations

from typing import Literal

import msgspec

from flink_job.sources.entry_ids import is_behind
from flink_job.sources.redis_streams import Look

_KEEP = (
    "Operator action: trim streams (MAXLEN or MINID of XADD and XTRIM) to no less than what is "
    "added while the job stands still."
)


class Standing(msgspec.Struct, frozen=True):
    """How far a stream is read.

    Parameters
    ----------
    last
        Id of the last entry that was read, or behind which to begin.
    reading
        Whether the job has read from the stream: what was removed before that is no loss.
    added
        Entries that the stream had ever held up to `last`, if Redis has said so.
    trouble
        What was found, and told, when the stream was looked at last: it was `gone`, or it was
        `short`, with an end before `last`.
    """

    last: str
    reading: bool = False
    added: int | None = None
    trouble: Literal["gone", "short"] | None = None


def advance(standing: Standing, look: Look | None) -> tuple[Standing, str | None]:
    """Where a stream stands when what a look found is read, and what was lost before that.

    Streams are trimmed from their beginning. So nothing was, if the first entry there is does not
    come behind the last one that was read. If it does, that one was removed, and whether others
    behind it were, too, shows by the count that Redis keeps from version 7 on; without it, only if
    nothing is left. What is removed from the middle (XDEL) can not be seen.

    Parameters
    ----------
    look
        From the same `last`; None if there is no such stream.
    """
    if look is None:
        if not standing.reading or standing.trouble == "gone":
            return standing, None
        return Standing(standing.last, reading=True, trouble="gone"), _gone(standing)
    if is_behind(standing.last, look.newest):
        if not standing.reading or standing.trouble == "short":
            return standing, None
        return Standing(standing.last, reading=True, trouble="short"), _short(standing, look)
    last = look.ids[-1] if look.ids else look.newest
    added = _added(standing, look, last)
    lost = standing.reading and standing.trouble != "gone"
    return (
        Standing(last, standing.reading or bool(look.ids), added),
        _removed(standing, look) if lost else None,
    )


def _added(standing: Standing, look: Look, last: str) -> int | None:
    """Entries that the stream had ever held up to `last`, which was read now."""
    if last == look.newest:
        return look.added
    if look.first is not None and look.added is not None and is_behind(look.first, standing.last):
        # All that is left was not read before: what comes behind `last` is known by its length.
        return look.added - look.length + len(look.ids)
    return None if standing.added is None else standing.added + len(look.ids)


def _removed(standing: Standing, look: Look) -> str | None:
    last = standing.last
    if look.first is not None and not is_behind(look.first, last):
        return None
    # A count that went back is one of a stream that was made anew.
    if look.added is not None and standing.added is not None and look.added >= standing.added:
        count = look.added - look.length - standing.added
        what = f"{count} entries behind {last} were" if count > 0 else None
    elif look.ids:
        what = f"entries between {last} and {look.first} may have been"
    else:
        what = f"entries behind {last}, up to {look.newest}, were" if look.newest != last else None
    return f"{what} removed before they were read. {_KEEP}" if what else None


def _gone(standing: Standing) -> str:
    return (
        f"the stream is gone; what was in it behind {standing.last} is lost, if anything was. "
        "Operator action: none, if it was deleted; a Redis that is to keep streams over a restart "
        "needs `appendonly yes`."
    )


def _short(standing: Standing, look: Look) -> str:
    return (
        f"the stream ends with {look.newest}, but was read up to {standing.last}: it was made "
        "anew, or Redis came back without its latest entries. Ids up to there are taken as read. "
        "Operator action: none, if what is added from now on has the ids that Redis gives; "
        "otherwise write to a stream of another name, and name that under `source.streams`."
    )

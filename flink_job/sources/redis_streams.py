"""What a stream of Redis holds behind an entry, as one look at it finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from flink_job.settings import JobSettings, SettingsError
from flink_job.source_settings import RedisSourceSettings
from flink_job.sources.blocks import Block
from flink_job.sources.entry_ids import BEFORE_ALL, last_before, time_in
from flink_job.sources.stretch import Stretch, read_stretch
from model_store.redis_connection import RedisConnection

# A script, for it must be one moment: what begins the stream says what was removed before it.
_LOOK: Final = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'stream' then return {kind} end
local entries = {}
local found = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
for i, entry in ipairs(found) do
  entries[i] = {entry[1], false}
  for j = 1, #entry[2], 2 do
    if entry[2][j] == ARGV[3] then entries[i][2] = entry[2][j + 1] end
  end
end
local info, told = redis.call('XINFO', 'STREAM', KEYS[1]), {}
for i = 1, #info, 2 do told[info[i]] = info[i + 1] end
local first, last = told['first-entry'], told['last-entry']
return {
  kind, entries, first and first[1] or '', last and last[1] or '',
  told['last-generated-id'], told['length'], told['entries-added'] or -1,
}
"""
_STREAM, _NOTHING = "stream", "none"


@dataclass(frozen=True)
class Look:
    """A stream at one moment.

    Parameters
    ----------
    ids
        Of the entries behind the one that was asked for, in order, no more than asked for.
    contents
        What each holds in the field of the event; None where it has no such field.
    first, last
        Ids of the entries at its ends; None of an empty stream.
    newest
        The last id that was ever given in it, also to an entry that is gone.
    length
        Entries that it holds.
    added
        Entries that it ever held; None before Redis 7, which does not count them.
    """

    ids: list[str]
    contents: list[bytes | None]
    first: str | None
    last: str | None
    newest: str
    length: int
    added: int | None


class RedisStreams:
    """Looks at the streams of a source."""

    def __init__(self, connection: RedisConnection, source: RedisSourceSettings) -> None:
        self._source = source
        self._look: Callable[[list[str], list[str | bytes | int]], Any] = connection.script(_LOOK)

    def look(self, stream: str, behind: str, most: int) -> Look | None:
        """At most so many entries behind an id; None if there is no such stream.

        Raises
        ------
        SettingsError
            If the key holds something else.
        model_store.errors.StoreUnavailable
            If Redis can not be reached, or refuses to answer.
        """
        kind, *found = self._look([stream], [behind, most, self._source.json_field])
        if kind == _NOTHING.encode():
            return None
        if kind != _STREAM.encode():
            message = (
                f"source.streams: {stream!r} is a {kind.decode()} in Redis, and no stream. "
                "Operator action: correct the name, or remove that key."
            )
            raise SettingsError(message)
        entries, first, last, newest, length, added = found
        return Look(
            ids=[entry.decode() for entry, _ in entries],
            contents=[content for _, content in entries],
            first=first.decode() or None,
            last=last.decode() or None,
            newest=newest.decode(),
            length=length,
            added=None if added < 0 else added,
        )

    def beginnings(self) -> dict[str, str]:
        """Behind which id a job without a savepoint begins in each stream; raises as `look`.

        To be asked once and kept with the job: one that fails before its first checkpoint has to
        begin where it did.
        """
        return {stream: self._beginning(stream) for stream in self._source.streams}

    def _beginning(self, stream: str) -> str:
        start, found = self._source.start, self.look(stream, BEFORE_ALL, 1)
        if isinstance(start, datetime):
            return last_before(start)
        return found.newest if found and start == "latest" else BEFORE_ALL


def read_look(job: JobSettings, source: RedisSourceSettings, stream: str, look: Look) -> Block:
    """The events that a look at a stream found, by shard, in their order, and its dead letters."""
    times = [time_in(entry) for entry in look.ids]
    missing = f"the entry has no field {source.json_field!r} (source.json_field)"
    return read_stretch(job, Stretch(stream, look.ids, times, look.contents), missing)

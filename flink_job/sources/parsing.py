"""Row to event, or to a dead letter that says what is wrong with it."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from flink_job.source_settings import FieldSettings
from flink_job.sources.reading import Row
from operators.records import DeadLetter, Event

_LONGEST_ID = 512  # characters; ids and keys end up in state, in Redis and in every decision
_LONGEST_TEXT = 1 << 20  # characters
_MISSING = object()


class BadEvent(ValueError):
    """A row that is no event."""


def parse(
    row: Row, source: str, task: str, fields: FieldSettings, recorded: str | None
) -> Event | DeadLetter:
    """Make an event of a row.

    Parameters
    ----------
    source
        Name of the file, for dead letters and for the ids of events that have none.
    recorded
        Column with the expert's recorded answer, if the expert is one.
    """
    if row.values is None:
        return DeadLetter(source, row.line, row.error or "no row", row.raw)
    try:
        return _event(row.values, f"{source}:{row.line}", task, fields, recorded)
    except BadEvent as error:
        return DeadLetter(source, row.line, str(error), row.raw)


def _event(
    values: dict[str, Any], place: str, task: str, fields: FieldSettings, recorded: str | None
) -> Event:
    text = _text(values, fields.text, _LONGEST_TEXT)
    if not text.strip():
        raise BadEvent(f"{fields.text}: the text is empty")
    identity = _text(values, fields.id, _LONGEST_ID) if fields.id else place
    if not identity:
        raise BadEvent(f"{fields.id}: the id is empty")
    return Event(
        id=identity,
        key=_text(values, fields.key, _LONGEST_ID) if fields.key else identity,
        text=text,
        task=task,
        time=_text_or_none(values, fields.time) or "",
        recorded=_text_or_none(values, recorded) or None,
    )


def _text_or_none(values: dict[str, Any], name: str | None) -> str | None:
    """A field that may be null, but not left out: that is most likely a misspelled setting."""
    if name is None or look_up(values, name, _MISSING) is None:
        return None
    return _text(values, name, _LONGEST_ID)


def look_up(values: dict[str, Any], name: str, default: Any = None) -> Any:
    """The field of that very name, or the one that dots lead to."""
    if name in values:
        return values[name]
    found: Any = values
    for part in name.split("."):
        if not isinstance(found, dict) or part not in found:
            return default
        found = found[part]
    return found


def _text(values: dict[str, Any], name: str, longest: int) -> str:
    value = look_up(values, name, _MISSING)
    if value is None or value is _MISSING:
        raise BadEvent(f"{name}: is missing")
    text = value if isinstance(value, str) else _written(value, name)
    if len(text) > longest:
        raise BadEvent(f"{name}: {len(text)} characters, more than {longest}")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadEvent(f"{name}: no valid UTF-8 at character {error.start}") from error
    return text


def _written(value: Any, name: str) -> str:
    """A number as text."""
    if isinstance(value, bool | dict | list):
        raise BadEvent(f"{name}: a text is needed, not {type(value).__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise BadEvent(f"{name}: a text is needed, not {value}")
    return str(value)


def shard_of(key: str, shards: int) -> int:
    """The shard of a key, the same on every machine."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest) % shards

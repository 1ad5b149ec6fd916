"""What Jetstream says: JSON messages over a websocket, each with a time that is a cursor.

https://github.com/bluesky-social/jetstream
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec

PUBLIC_URL = "wss://jetstream2.us-east.bsky.network/subscribe"
_POSTS = "app.bsky.feed.post"
_MICROSECONDS = 1_000_000


class _Record(msgspec.Struct):
    text: str
    createdAt: str = ""  # the protocol's name
    langs: list[str] | None = None


class _Commit(msgspec.Struct):
    operation: str
    collection: str
    rkey: str
    record: msgspec.Raw = msgspec.Raw()


class _Message(msgspec.Struct):
    did: str
    time_us: int
    kind: str
    commit: _Commit | None = None


class BadMessage(ValueError):
    """A message that is not of the protocol."""


@dataclass(frozen=True)
class Message:
    """A message, whatever it is about.

    Parameters
    ----------
    time_us
        When it was sent, in microseconds since 1970: the cursor behind it.
    post
        The new post that it tells of, if it does.
    """

    time_us: int
    post: Post | None


@dataclass(frozen=True)
class Post:
    """A new post, as the record that it becomes.

    Parameters
    ----------
    id
        Its address, as in ``at://did:plc:abc/app.bsky.feed.post/3kxyz``.
    author
        The account that wrote it: the record's key.
    content
        A JSON object with `id`, `author`, `text`, `time`, `langs` and `time_us`.
    """

    id: str
    author: str
    content: bytes


def subscription(url: str, cursor_us: int | None) -> str:
    """Where to listen, from a cursor on or from now."""
    wanted: list[tuple[str, str | int]] = [("wantedCollections", _POSTS)]
    if cursor_us is not None:
        wanted.append(("cursor", cursor_us))
    return f"{url}?{urlencode(wanted)}"


def read_message(data: str | bytes, languages: Collection[str] = ()) -> Message:
    """Read a message.

    Parameters
    ----------
    languages
        Posts that do not say that they are in one of these are left out; empty for all.

    Raises
    ------
    BadMessage
        If it is none.
    """
    try:
        message = msgspec.json.decode(data, type=_Message)
        commit = message.commit
        if commit is None or (commit.operation, commit.collection) != ("create", _POSTS):
            return Message(message.time_us, None)
        record = msgspec.json.decode(commit.record, type=_Record)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadMessage(str(error)) from error
    spoken = record.langs or []
    if not record.text.strip() or (languages and languages_of(spoken).isdisjoint(languages)):
        return Message(message.time_us, None)
    identity = f"at://{message.did}/{commit.collection}/{commit.rkey}"
    content = {
        "id": identity,
        "author": message.did,
        "text": record.text,
        "time": record.createdAt,
        "langs": spoken,
        "time_us": message.time_us,
    }
    written = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
    return Message(message.time_us, Post(identity, message.did, written))


def languages_of(tags: Collection[str]) -> set[str]:
    """The languages in language tags: ``en`` in ``en-GB``."""
    return {tag.partition("-")[0].lower() for tag in tags}


def rewound(cursor_us: int, seconds: float) -> int:
    """A cursor some seconds before another one."""
    return max(0, cursor_us - round(seconds * _MICROSECONDS))

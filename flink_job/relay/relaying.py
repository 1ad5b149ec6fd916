"""Keeps a feed supplied from a websocket that may close at any time."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

import aiohttp

from flink_job.relay.feed import Feed, Tail
from flink_job.relay.jetstream import BadMessage, read_message, rewound, subscription

_log = logging.getLogger(__name__)
_REWIND_S = 5.0  # what Jetstream advises, for servers do not agree on the exact order
_REMEMBERED = 100_000  # ids, far more than come within the rewind
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 60.0
_HEARTBEAT_S = 20.0
_LARGEST_MESSAGE = 4 << 20  # bytes
_FULL_WAIT_S = 0.1


@dataclass
class Counts:
    """What a relay has done."""

    posts: int = 0
    repeated: int = 0
    bad: int = 0
    connections: int = 0


class Relay:
    """Listens, and listens again from where it was when the connection breaks.

    Each post goes into the feed once, as long as the server keeps the stretch that was missed:
    after a break it sends some seconds again, and what is known of them is left out.

    Parameters
    ----------
    tail
        What the feed has from an earlier relay.
    sleep
        Waits so many seconds.
    """

    def __init__(
        self,
        url: str,
        feed: Feed,
        tail: Tail,
        *,
        languages: Collection[str] = (),
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.counts = Counts()
        self._url = url
        self._feed = feed
        self._languages = frozenset(languages)
        self._sleep = sleep
        self._cursor_us = tail.cursor_us
        self._seen = OrderedDict.fromkeys(tail.ids)

    async def run(self) -> None:
        """Relay until cancelled.

        Raises
        ------
        FeedError
            If the feed fails.
        """
        wait_s = _FIRST_WAIT_S
        async with aiohttp.ClientSession() as session:
            while True:
                before = self._cursor_us
                try:
                    await self._listen(session)
                    reason = "the server closed the connection"
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    reason = str(error) or type(error).__name__
                if self._cursor_us != before:
                    wait_s = _FIRST_WAIT_S
                _log.warning("%s: %s; again in %.1f s", self._url, reason, wait_s)
                await self._sleep(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    async def _listen(self, session: aiohttp.ClientSession) -> None:
        cursor = self._cursor_us
        start = None if cursor is None else rewound(cursor, _REWIND_S)
        async with session.ws_connect(
            subscription(self._url, start),
            heartbeat=_HEARTBEAT_S,
            max_msg_size=_LARGEST_MESSAGE,
        ) as socket:
            self.counts.connections += 1
            async for message in socket:
                if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    await self._take(message.data)

    async def _take(self, data: str | bytes) -> None:
        try:
            message = read_message(data, self._languages)
        except BadMessage as error:
            self.counts.bad += 1
            _log.warning("a message was left out: %s", error)
            return
        post = message.post
        if post is not None:
            if post.id in self._seen:
                self.counts.repeated += 1
            else:
                while not self._feed.send(post):
                    await self._sleep(_FULL_WAIT_S)
                self.counts.posts += 1
                self._seen[post.id] = None
                if len(self._seen) > _REMEMBERED:
                    self._seen.popitem(last=False)
        # Replayed messages come before what was already read.
        self._cursor_us = max(self._cursor_us or 0, message.time_us)

"""The relay against a server that speaks as Jetstream does, and drops what it likes."""

from __future__ import annotations

import asyncio

import pytest

from flink_job.relay.feed import FeedError, Tail
from flink_job.relay.jetstream import Post
from flink_job.relay.relaying import Relay
from tests.flink_job.relay.jetstream import SECOND, Server, post

NOTHING = Tail(None, frozenset())


class MemoryFeed:
    """A feed that has no room now and then, and may fail."""

    def __init__(self, *, fails: bool = False) -> None:
        self.posts: list[Post] = []
        self._fails = fails
        self._calls = 0

    def send(self, post: Post) -> bool:
        if self._fails:
            message = "full"
            raise FeedError(message)
        self._calls += 1
        if self._calls % 3 == 0:
            return False
        self.posts.append(post)
        return True


async def relayed(
    server: Server, feed: MemoryFeed, tail: Tail = NOTHING
) -> tuple[Relay, list[float]]:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    async with server.running() as url:
        relay = Relay(url, feed, tail, sleep=sleep)
        running = asyncio.ensure_future(relay.run())
        try:
            await until(server, running, feed)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    return relay, waits


async def until(server: Server, running: asyncio.Task[None], feed: MemoryFeed) -> None:
    finished = asyncio.ensure_future(server.done.wait())
    await asyncio.wait({finished, running}, return_when=asyncio.FIRST_COMPLETED)
    finished.cancel()
    if running.done():
        running.result()
    async with asyncio.timeout(20):  # what is sent still has to be read
        while not feed.posts or not feed.posts[-1].id.endswith("r29"):
            await asyncio.sleep(0)


def numbers(feed: MemoryFeed) -> list[int]:
    return [int(p.id.rpartition("r")[2]) for p in feed.posts]


def test_each_post_goes_in_once_whatever_breaks() -> None:
    async def scenario() -> None:
        server, feed = Server([post(i) for i in range(30)], [7, 0, 12]), MemoryFeed()
        relay, waits = await relayed(server, feed)
        assert numbers(feed) == list(range(30))
        assert relay.counts.posts == 30
        assert relay.counts.repeated > 0
        assert len(server.cursors) == relay.counts.connections == 4
        assert server.cursors[0] is None
        # A connection begins some seconds before what the one before had last brought.
        assert int(server.cursors[1] or 0) == SECOND
        # The second connection brought nothing, so the third came later.
        assert [wait for wait in waits if wait >= 0.5] == [0.5, 1.0, 0.5]

    asyncio.run(scenario())


def test_a_new_relay_goes_on_from_what_the_topic_has() -> None:
    async def scenario() -> None:
        ids = frozenset(f"at://did:plc:{i % 3}/app.bsky.feed.post/r{i}" for i in range(20))
        server, feed = Server([post(i) for i in range(30)], []), MemoryFeed()
        relay, _ = await relayed(server, feed, Tail(19 * SECOND, ids))
        assert server.cursors == [str(14 * SECOND)]
        assert numbers(feed) == list(range(20, 30))
        assert relay.counts.repeated == 6

    asyncio.run(scenario())


def test_what_is_no_message_is_left_out() -> None:
    async def scenario() -> None:
        messages = [post(0), "no message", *map(post, range(1, 30))]
        feed = MemoryFeed()
        relay, _ = await relayed(Server(messages, []), feed)
        assert numbers(feed) == list(range(30))
        assert relay.counts.bad == 1

    asyncio.run(scenario())


def test_a_feed_that_fails_ends_the_relay() -> None:
    async def scenario() -> None:
        with pytest.raises(FeedError):
            await relayed(Server([post(0)], [1]), MemoryFeed(fails=True))

    asyncio.run(scenario())


def test_a_server_that_is_not_there_is_tried_again_ever_more_rarely() -> None:
    async def scenario() -> list[float]:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 10:
                raise asyncio.CancelledError

        relay = Relay("ws://127.0.0.1:1/subscribe", MemoryFeed(), NOTHING, sleep=sleep)
        with pytest.raises(asyncio.CancelledError):
            await relay.run()
        return waits

    waits = asyncio.run(scenario())
    assert waits[:3] == [0.5, 1.0, 2.0]
    assert waits[-1] == 60.0

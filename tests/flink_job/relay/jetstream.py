"""A server that speaks as Jetstream does, and drops what it likes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

SECOND = 1_000_000


def time_of(message: str) -> int:
    return int(json.loads(message)["time_us"])


def post(number: int) -> str:
    return json.dumps(
        {
            "did": f"did:plc:{number % 3}",
            "time_us": number * SECOND,
            "kind": "commit",
            "commit": {
                "operation": "create",
                "collection": "app.bsky.feed.post",
                "rkey": f"r{number}",
                "record": {"text": f"post {number}"},
            },
        }
    )


class Server:
    """A stretch of the stream, sent from the cursor on; each connection ends after some of it.

    Parameters
    ----------
    last
        How many messages each connection gets; the last one all.
    """

    def __init__(self, messages: list[str], last: list[int]) -> None:
        self._messages = messages
        self._last = last
        self.cursors: list[str | None] = []
        self.done, self.closing = asyncio.Event(), asyncio.Event()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        assert request.query["wantedCollections"] == "app.bsky.feed.post"
        cursor = request.query.get("cursor")
        self.cursors.append(cursor)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        begin = int(cursor or 0)
        left = [m for m in self._messages if not m.startswith("{") or time_of(m) >= begin]
        allowed = self._last.pop(0) if self._last else None
        for message in left[:allowed]:
            await socket.send_str(message)
        if allowed is None:
            self.done.set()
            await self.closing.wait()
        if request.transport is not None:
            request.transport.close()  # cut, without a goodbye
        return socket

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve; gives the URL."""
        app = web.Application()
        app.router.add_get("/subscribe", self.serve)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            yield f"ws://{host}:{port}/subscribe"
        finally:
            self.closing.set()
            await runner.cleanup()

"""An OpenAI-compatible endpoint in a process of its own, as slow as an LLM, or at a standstill."""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
import urllib.request
from multiprocessing.connection import Connection
from typing import Any, Self

from aiohttp import web

from benchmarks.child import SPAWN, Child

_SHUTDOWN_S = 0.2


class SlowLLM(Child):
    """Answers every call with one label, after a log-normal while.

    Parameters
    ----------
    label
        The answer.
    median_s, sigma
        Of the time that it takes.
    """

    def __init__(self, label: str, median_s: float, sigma: float) -> None:
        self._here, there = SPAWN.Pipe()
        super().__init__(_serve, label, median_s, sigma, there)
        self.mean_s = median_s * math.exp(sigma**2 / 2)
        """Of the time that it takes, by its distribution."""

    def __enter__(self) -> Self:
        """Start it, and wait until it listens."""
        super().__enter__()
        self.base_url = f"http://127.0.0.1:{self._here.recv()}/v1"
        return self

    def stats(self) -> dict[str, float]:
        """Calls ``answered`` and ``in_flight``, seconds ``slept`` for those answered, ``at``."""
        return self._ask("stats")

    def stand_still(self, still: bool) -> None:
        """Answer nobody from now on, or go on."""
        self._ask("stop" if still else "go")

    def _ask(self, what: str) -> dict[str, float]:
        with urllib.request.urlopen(f"{self.base_url}/{what}", timeout=60) as response:  # noqa: S310  # http, to the child of this object
            found: dict[str, float] = json.load(response)
        return found


class _Endpoint:
    def __init__(self, label: str, median_s: float, sigma: float) -> None:
        self._label, self._median_s, self._sigma = label, median_s, sigma
        self._random = random.Random(0)
        self._go = asyncio.Event()
        self._go.set()
        self._answered = self._in_flight = 0
        self._slept_s = 0.0

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/stats", self._stats)
        app.router.add_get("/v1/stop", self._stop)
        app.router.add_get("/v1/go", self._start)
        return app

    async def _complete(self, request: web.Request) -> web.Response:
        self._in_flight += 1
        try:
            await request.read()
            while_s = self._random.lognormvariate(math.log(self._median_s), self._sigma)
            await asyncio.sleep(while_s)
            await self._go.wait()
        finally:
            self._in_flight -= 1
        self._answered += 1
        self._slept_s += while_s
        answer = {"index": 0, "message": {"role": "assistant", "content": self._label}}
        usage = {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102}
        body: dict[str, Any] = {
            "id": "c",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [answer | {"finish_reason": "stop"}],
            "usage": usage,
        }
        return web.json_response(body)

    async def _stats(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "answered": self._answered,
                "in_flight": self._in_flight,
                "slept": self._slept_s,
                "at": time.monotonic(),
            }
        )

    async def _stop(self, _: web.Request) -> web.Response:
        self._go.clear()
        return web.json_response({})

    async def _start(self, _: web.Request) -> web.Response:
        self._go.set()
        return web.json_response({})


def _serve(label: str, median_s: float, sigma: float, there: Connection) -> None:
    async def run() -> None:
        app = _Endpoint(label, median_s, sigma).app()
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        there.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())

"""A local OpenAI-compatible endpoint that answers about known posts, slowly and unreliably.

It stands in for an LLM in the demo and in tests: the answers come from an answer key, latency and
failures are simulated and repeat exactly with the seed. Routes: ``POST /v1/chat/completions``,
``GET /v1/models``, and to watch and steer it ``GET /stats`` and ``POST /control``. With an API key
set, all of them require it.

The user message is a JSON object, ``{"text": "..."}``. A text in the answer key is answered with
its label, anything else with a sentence that is no label.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from aiohttp import web

from flink_job.demo.answering import Endpoint
from flink_job.demo.behaviour import EndpointSettings

__all__ = ["EndpointSettings", "RunningEndpoint", "make_app", "serve"]

# How long a stopping server waits for calls in flight before it cancels them.
_SHUTDOWN_S: Final = 0.2


def make_app(settings: EndpointSettings, answers: Mapping[str, str]) -> web.Application:
    """Return the endpoint as an application, for a server of one's own.

    Parameters
    ----------
    settings
        What the endpoint pretends to be.
    answers
        The answer key: `answers.text_key` of a text to the label.
    """
    return Endpoint(settings, answers).app()


async def serve(
    settings: EndpointSettings, answers: Mapping[str, str], host: str, port: int
) -> None:
    """Run the endpoint until cancelled.

    Parameters
    ----------
    settings, answers
        As for `make_app`.
    host, port
        Where to listen.

    Raises
    ------
    OSError
        If the port cannot be had.
    """
    async with _listening(Endpoint(settings, answers), host, port):
        await asyncio.Event().wait()


class RunningEndpoint:
    """The endpoint on a port of 127.0.0.1, in a thread of its own, as a context manager.

    Leaving the context ends the calls in flight and the thread. An object may be entered once.

    Parameters
    ----------
    settings, answers
        As for `make_app`.
    port
        Where to listen; 0 takes one that is free.
    """

    def __init__(
        self, settings: EndpointSettings, answers: Mapping[str, str], port: int = 0
    ) -> None:
        self._wanted = port
        self._endpoint = Endpoint(settings, answers)
        self._stop: Future[None] = Future()
        self._port: Future[int] = Future()
        # A daemon: a test run that dies inside the context must still end.
        self._thread = threading.Thread(target=self._run, name="demo-endpoint", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._port.result()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set_result(None)
        self._thread.join()

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its base URL.

        Raises
        ------
        RuntimeError
            If the context was not entered yet.
        """
        if not self._port.done():
            raise RuntimeError("the endpoint is not running. Operator action: enter its context")
        return f"http://127.0.0.1:{self._port.result()}/v1"

    def stats(self) -> dict[str, Any]:
        """Return the counts of ``GET /stats``, see `CallStats.snapshot`. Thread-safe."""
        return self._endpoint.stats.snapshot()

    def control(self, *, reset: bool = False, **changes: Any) -> None:
        """Do what ``POST /control`` does, see `Endpoint.control`. Thread-safe.

        Raises
        ------
        ValueError
            If a setting cannot be changed or a value is wrong. Nothing has changed then.
        """
        self._endpoint.control(changes, reset=reset)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if self._port.done():
                raise
            # Whoever enters the context waits for the port: it is theirs to raise.
            self._port.set_exception(error)

    async def _serve(self) -> None:
        async with _listening(self._endpoint, "127.0.0.1", self._wanted) as port:
            self._port.set_result(port)
            await asyncio.wrap_future(self._stop)


@asynccontextmanager
async def _listening(endpoint: Endpoint, host: str, port: int) -> AsyncIterator[int]:
    # Cancellation: a caller that gives up on a hanging call must not keep it in flight.
    runner = web.AppRunner(
        endpoint.app(), access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_S
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()

"""The routes of the endpoint: how it answers, fails, counts, and is steered."""

import asyncio
import hmac
import math
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from flink_job.demo.answers import text_key
from flink_job.demo.behaviour import EndpointSettings, FailureKind, conduct
from flink_job.demo.call_stats import CallStats
from flink_job.demo.requests_in import (
    BadRequestError,
    ChatRequest,
    parse_control,
    parse_request,
    post_text,
)
from flink_job.demo.responses_out import completion, error_body, models_body
from flink_job.demo.seeded import seeded

_COMPLETIONS_PATH: Final = "/v1/chat/completions"
# No HTTP status tells of a connection closed without an answer; servers log it as this one.
_DROPPED_STATUS: Final = 444
_CONTROLLABLE: Final = frozenset(
    {"failure_rate", "failure_kinds", "latency_ms_median", "latency_sigma", "hang_s"}
)
# None of them contains a label that a lenient reader could pick out.
_NONSENSE: Final = (
    "As a language model I would need more context to judge this message.",
    "This message is an interesting example of how people talk online.",
    "I'm sorry, but I can't help with that request.",
    "Here is a summary: the author shares a personal view and expects reactions.",
    "It depends on the tone and on the people involved.",
)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Endpoint:
    """The state of an endpoint, and its routes.

    Parameters
    ----------
    settings
        What it pretends to be, until `control` changes it.
    answers
        Its answer key, see `answers`. Not copied, never changed.
    """

    def __init__(self, settings: EndpointSettings, answers: Mapping[str, str]) -> None:
        self.stats = CallStats()
        # Replaced as a whole, so that a call sees settings that belong together.
        self.settings = settings
        self._control_lock = threading.Lock()
        self._answers = answers
        self._labels = sorted(set(answers.values()))

    def app(self) -> web.Application:
        """Return a new application with the routes; all share this endpoint's state."""
        app = web.Application(middlewares=[self._count, self._authorize])
        app.router.add_post(_COMPLETIONS_PATH, self._complete)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_get("/stats", self._show_stats)
        app.router.add_post("/control", self._take_control)
        return app

    def control(self, changes: Mapping[str, Any], *, reset: bool) -> None:
        """Change the behaviour for the calls that come next. Thread-safe.

        Parameters
        ----------
        changes
            New values of the settings ``failure_rate``, ``failure_kinds``, ``latency_ms_median``,
            ``latency_sigma`` and ``hang_s``. They may come from the network.
        reset
            Whether the counters, attempts included, start again from zero.

        Raises
        ------
        ValueError
            If a setting cannot be changed or a value is wrong. Nothing has changed then.
        """
        unknown = sorted(set(changes) - _CONTROLLABLE)
        if unknown:
            raise ValueError(
                f"cannot change {', '.join(unknown)} of a running endpoint. "
                f"Operator action: change {', '.join(sorted(_CONTROLLABLE))}, or reset"
            )
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in changes.items()
        }
        with self._control_lock:
            self.settings = replace(self.settings, **values)
        if reset:
            self.stats.reset()

    @web.middleware
    async def _count(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.path != _COMPLETIONS_PATH:
            return await handler(request)
        status: int | None = web.HTTPInternalServerError.status_code
        self.stats.begin()
        try:
            response = await handler(request)
            status = response.status
        except web.HTTPException as error:
            status = error.status
            raise
        except asyncio.CancelledError:
            status = None
            raise
        finally:
            self.stats.end(status)
        return response

    @web.middleware
    async def _authorize(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        key = self.settings.api_key
        if key is not None:
            given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(given, f"Bearer {key}".encode()):
                message = "wrong or no API key. Operator action: send the endpoint's key"
                body = error_body(message, "invalid_request_error", "invalid_api_key")
                return web.json_response(body, status=401)
        return await handler(request)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        try:
            chat = parse_request(await request.read())
        except BadRequestError as error:
            return web.json_response(error_body(str(error), "invalid_request_error"), status=400)
        text = post_text(chat.content)
        key = text_key(chat.content if text is None else text)
        attempt = self.stats.attempt(key)
        settings = self.settings
        met = conduct(settings, key, attempt)
        if met.failure is not None:
            self.stats.fail(met.failure)
        await asyncio.sleep(met.latency_s)
        if met.failure is not None and met.failure != "nonsense":
            return await _fail(request, settings, met.failure)
        label = self._answers.get(key) if text is not None and met.failure is None else None
        return self._answer(chat, label, seeded_for=(settings.seed, key, attempt))

    def _answer(
        self, chat: ChatRequest, label: str | None, seeded_for: tuple[int, str, int]
    ) -> web.Response:
        seed, key, attempt = seeded_for
        rng = seeded(seed, "answer", key, attempt)
        answer = rng.choice(_NONSENSE) if label is None else label
        others = [each for each in self._labels if each != label]
        body = completion(chat, answer, others, rng)
        usage = body["usage"]
        self.stats.spend(
            usage["prompt_tokens"], usage["completion_tokens"], labelled=label is not None
        )
        return web.json_response(body)

    async def _list_models(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(models_body(self.settings.model))

    async def _show_stats(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.stats.snapshot())

    async def _take_control(self, request: web.Request) -> web.StreamResponse:
        try:
            changes, reset = parse_control(await request.read())
            self.control(changes, reset=reset)
        except ValueError as error:
            return web.json_response(error_body(str(error), "invalid_request_error"), status=400)
        return web.json_response(self.stats.snapshot())


async def _fail(
    request: web.Request, settings: EndpointSettings, failure: FailureKind
) -> web.Response:
    match failure:
        case "429":
            body = error_body("rate limit reached", "rate_limit_error", "rate_limit_exceeded")
            after = {"Retry-After": str(math.ceil(settings.retry_after_s))}
            return web.json_response(body, status=429, headers=after)
        case "timeout":
            await asyncio.sleep(settings.hang_s)
            return web.json_response(error_body("timed out", "server_error"), status=504)
        case "drop":
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=_DROPPED_STATUS)
        case _:
            return web.json_response(error_body("internal error", "server_error"), status=500)

"""The OpenAI expert: what it sends, and what each thing that can go wrong is called."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

import aiohttp
import httpx2
import openai
import pytest
from aiohttp.client_reqrep import ConnectionKey
from openai._vendor.httpx_aiohttp.transport import map_aiohttp_exceptions
from pydantic import SecretStr

from flink_job.demo.answers import answers_from_posts
from flink_job.demo.endpoint import EndpointSettings, RunningEndpoint
from flink_job.demo.posts import LABELS, generate
from operators.expert.openai_expert import OpenAIExpert
from operators.expert.port import ExpertBusy, ExpertError, ExpertRefused, ExpertUnavailable, Reply
from operators.records import Event
from operators.settings import OpenAIExpertSettings, TaskSettings

KEY = "sk-never-to-be-seen"
TASK = TaskSettings(name="t", labels=("spam", "ok"), prompt="Is it spam?")
EVENT = Event("1", "k", "buy now", "t")

Handler = Callable[[httpx2.Request], httpx2.Response]


def completion(content: Any, **changes: Any) -> dict[str, Any]:
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": content},
            }
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
    } | changes


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Reply]:
    """One call, answered by a handler in the place of the network."""

    def call(handler: Handler, event: Event = EVENT, **changes: Any) -> Reply:
        transport = httpx2.MockTransport(handler)
        monkeypatch.setattr(
            openai, "DefaultAioHttpClient", lambda: httpx2.AsyncClient(transport=transport)
        )

        async def run() -> Reply:
            chosen = OpenAIExpertSettings(model="some-model", base_url="http://llm/v1", **changes)
            expert = OpenAIExpert(chosen, TASK, SecretStr(KEY))
            assert KEY not in repr(expert) + str(expert) + repr(chosen)
            try:
                return await expert.ask(event)
            finally:
                await expert.close()

        return asyncio.run(run())

    return call


def test_what_is_sent(ask: Callable[..., Reply]) -> None:
    requests: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json=completion(" Spam. "))

    reply = ask(handler, Event("1", "k", 'x" }' * 10, "t"), max_chars=16, max_tokens=5)
    assert reply == Reply("spam", tokens_in=12, tokens_out=3)
    (request,) = requests
    assert str(request.url) == "http://llm/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    body = json.loads(request.content)
    system, user = body.pop("messages")
    assert body == {"model": "some-model", "max_completion_tokens": 5, "temperature": 0.0}
    assert (system["role"], user["role"]) == ("system", "user")
    assert system["content"].startswith("Is it spam?")
    assert json.loads(user["content"]) == {"text": ('x" }' * 10)[:16]}


def test_the_most_that_a_call_can_take_is_learned_from_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What all prompts have in common took no more tokens than a whole one did."""
    told = iter([60, 0, -1, 90, 5000])
    short, long = Event("1", "k", "buy", "t"), Event("2", "k", "buy now " * 20, "t")

    def handler(_: httpx2.Request) -> httpx2.Response:
        usage = {"prompt_tokens": next(told), "completion_tokens": 3, "total_tokens": 0}
        return httpx2.Response(200, json=completion("ok", usage=usage))

    transport = httpx2.MockTransport(handler)
    monkeypatch.setattr(
        openai, "DefaultAioHttpClient", lambda: httpx2.AsyncClient(transport=transport)
    )

    async def run() -> list[tuple[int, int]]:
        chosen = OpenAIExpertSettings(model="m", base_url="http://llm/v1", max_tokens=7)
        expert = OpenAIExpert(chosen, TASK, SecretStr(KEY))
        most = [expert.most_tokens(short)]
        for event in (short, short, short, long, short):
            await expert.ask(event)
            most.append(expert.most_tokens(short))
        assert expert.most_tokens(long)[0] - most[-1][0] == len(long.text) - len(short.text)
        await expert.close()
        return most

    first, *later = asyncio.run(run())
    message = len('{"text": "buy"}')
    assert first[0] > len(TASK.prompt) + message
    assert first[1] == 7
    # A server that does not know teaches nothing; one that tells of more has the first word again.
    assert [most for most, _ in later] == [60 + message] * 4 + [first[0]]


def test_temperature_can_be_left_out(ask: Callable[..., Reply]) -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        assert "temperature" not in json.loads(request.content)
        return httpx2.Response(200, json=completion("ok"))

    assert ask(handler, temperature=None).label == "ok"


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, ExpertRefused, "http_400"),
        (401, ExpertRefused, "http_401"),
        (403, ExpertRefused, "http_403"),
        (404, ExpertRefused, "http_404"),
        (422, ExpertRefused, "http_422"),
        (429, ExpertBusy, "rate_limit"),
        (500, ExpertUnavailable, "server_error"),
        (502, ExpertUnavailable, "server_error"),
        (503, ExpertUnavailable, "server_error"),
        (529, ExpertUnavailable, "server_error"),
    ],
)
def test_status(
    ask: Callable[..., Reply], status: int, error: type[ExpertError], kind: str
) -> None:
    calls = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        calls.append(request)
        message = f"Incorrect API key provided: {KEY}"
        return httpx2.Response(status, json={"error": {"message": message}})

    with pytest.raises(error) as caught:
        ask(handler)
    assert type(caught.value) is error
    assert caught.value.kind == kind
    assert caught.value.reached
    assert len(calls) == 1  # retries are made where they are paid
    assert KEY not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("nan", 0.0),
        ("", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        (None, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(
    ask: Callable[..., Reply], status: int, header: str | None, seconds: float | None
) -> None:
    headers = {} if header is None else {"retry-after": header}
    with pytest.raises(ExpertUnavailable) as caught:
        ask(lambda _: httpx2.Response(status, headers=headers, json={}))
    assert caught.value.retry_after_s == seconds


def mapped(cause: Exception) -> Exception:
    """As the client's transport maps what aiohttp raises: nearly all of it to timeouts."""
    with pytest.raises(httpx2.TransportError) as caught, map_aiohttp_exceptions():
        raise cause
    return caught.value


NOWHERE = ConnectionKey(
    "llm", 80, is_ssl=False, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None
)


@pytest.mark.parametrize(
    ("cause", "kind", "reached"),
    [
        (aiohttp.ClientConnectorError(NOWHERE, OSError(111, "refused")), "connection", False),
        (
            aiohttp.ClientConnectorDNSError(NOWHERE, OSError(-2, "no such host")),
            "connection",
            False,
        ),
        (aiohttp.ConnectionTimeoutError("slow"), "connection", False),
        (aiohttp.ServerDisconnectedError(), "connection", True),
        (aiohttp.ClientOSError(104, "reset"), "connection", True),
        (aiohttp.ClientPayloadError("cut off"), "connection", True),
        (aiohttp.SocketTimeoutError("slow"), "timeout", True),
    ],
)
def test_network(ask: Callable[..., Reply], cause: Exception, kind: str, reached: bool) -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        raise mapped(cause)

    with pytest.raises(ExpertUnavailable) as caught:
        ask(handler)
    assert (caught.value.kind, caught.value.reached) == (kind, reached)


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_the_genuine_client_where_nobody_listens(host: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async def run() -> None:
        chosen = OpenAIExpertSettings(model="m", base_url=f"http://{host}:{port}/v1")
        expert = OpenAIExpert(chosen, TASK, SecretStr(KEY))
        try:
            await expert.ask(EVENT)
        finally:
            await expert.close()

    with pytest.raises(ExpertUnavailable) as caught:
        asyncio.run(run())
    assert (caught.value.kind, caught.value.reached) == ("connection", False)


@pytest.mark.parametrize(
    "content", ["I think it is spam", "", None, "spam or ok", "maybe"], ids=repr
)
def test_an_answer_that_is_no_label_is_refused_and_paid(
    ask: Callable[..., Reply], content: str | None
) -> None:
    with pytest.raises(ExpertRefused) as caught:
        ask(lambda _: httpx2.Response(200, json=completion(content)))
    assert (caught.value.kind, caught.value.tokens_in, caught.value.tokens_out) == (
        "nonsense", 12, 3
    )  # fmt: skip


def test_an_answer_without_usage_costs_no_tokens(ask: Callable[..., Reply]) -> None:
    assert ask(lambda _: httpx2.Response(200, json=completion("ok", usage=None))) == Reply("ok")


MALFORMED: dict[str, Callable[[], httpx2.Response]] = {
    "a web page": lambda: httpx2.Response(200, html="<h1>Log in to the proxy</h1>"),
    "text": lambda: httpx2.Response(200, text="ok"),
    "nothing": lambda: httpx2.Response(200, content=b""),
    "cut-off JSON": lambda: httpx2.Response(
        200, content=b'{"choices": [', headers={"content-type": "application/json"}
    ),
    "an empty object": lambda: httpx2.Response(200, json={}),
    "a list": lambda: httpx2.Response(200, json=[]),
    "null": lambda: httpx2.Response(200, json=None),
    "no choices": lambda: httpx2.Response(200, json=completion("ok", choices=[])),
    "choices of another kind": lambda: httpx2.Response(200, json=completion("ok", choices=["ok"])),
    "a choice without a message": lambda: httpx2.Response(200, json=completion("ok", choices=[{}])),
    "no message": lambda: httpx2.Response(
        200, json=completion("ok", choices=[{"index": 0, "message": None}])
    ),
    "content in parts": lambda: httpx2.Response(200, json=completion([{"type": "text"}])),
    "a number": lambda: httpx2.Response(200, json=completion(5)),
    "another usage": lambda: httpx2.Response(200, json=completion("ok", usage={"tokens": "many"})),
    "null usage": lambda: httpx2.Response(
        200, json=completion("maybe", usage={"prompt_tokens": None, "completion_tokens": "x"})
    ),
}


@pytest.mark.parametrize("response", MALFORMED.values(), ids=MALFORMED.keys())
def test_whatever_comes_back_is_a_reply_or_an_expert_error(
    ask: Callable[..., Reply], response: Callable[[], httpx2.Response]
) -> None:
    """A proxy's log-in page must not restart the job for ever."""

    def outcome() -> tuple[str, int, int]:
        try:
            reply = ask(lambda _: response())
        except ExpertError as error:
            return error.kind, error.tokens_in, error.tokens_out
        return reply.label, reply.tokens_in, reply.tokens_out

    what, tokens_in, tokens_out = outcome()
    assert what in {"malformed", "nonsense", "ok"}
    for count in (tokens_in, tokens_out):
        assert isinstance(count, int)
        assert count >= 0


def test_the_genuine_client_against_a_running_endpoint() -> None:
    posts = list(generate(6, seed=1))
    endpoint = EndpointSettings(api_key=KEY, latency_ms_median=0)
    task = TaskSettings(name="t", labels=tuple(LABELS), prompt="Classify the text.")

    async def run(base_url: str, key: str) -> list[Reply]:
        chosen = OpenAIExpertSettings(model="m", base_url=base_url)
        expert = OpenAIExpert(chosen, task, SecretStr(key))
        try:
            events = [Event(str(i), "k", post.text, "t") for i, post in enumerate(posts)]
            return list(await asyncio.gather(*(expert.ask(event) for event in events)))
        finally:
            await expert.close()

    with RunningEndpoint(endpoint, answers_from_posts(posts)) as running:
        replies = asyncio.run(run(running.base_url, KEY))
        assert [reply.label for reply in replies] == [post.expert for post in posts]
        assert sum(reply.tokens_in for reply in replies) == running.stats()["tokens_in"]
        with pytest.raises(ExpertRefused, match="http_401"):
            asyncio.run(run(running.base_url, "wrong"))
        running.control(failure_rate=1.0, failure_kinds=("drop",))
        with pytest.raises(ExpertUnavailable, match=r"connection|timeout") as caught:
            asyncio.run(run(running.base_url, KEY))
        assert caught.value.reached

"""The endpoint while it runs: steered, counted, stopped."""

import asyncio
import json
import urllib.error
import urllib.request

import openai
import pytest

from flink_job.demo.endpoint import EndpointSettings, RunningEndpoint, serve
from tests.flink_job.demo.client import (
    ANSWERS,
    FAST,
    KEY,
    POSTS,
    control_url,
    first_post,
    post_json,
    with_client,
)


def test_a_caller_that_gives_up_leaves_nothing_in_flight() -> None:
    settings = EndpointSettings(
        latency_ms_median=0.0, hang_s=3600, failure_rate=1.0, failure_kinds=("timeout",)
    )
    with RunningEndpoint(settings, ANSWERS) as endpoint:
        with pytest.raises(openai.APITimeoutError):
            with_client(endpoint, first_post, timeout_s=0.1)
        # Served after the hanging call was given up by the same loop.
        for _ in range(100):
            endpoint.control(failure_rate=0.0)
            with_client(endpoint, first_post)
            if endpoint.stats()["abandoned"]:
                break
        assert endpoint.stats()["abandoned"] == 1
        assert endpoint.stats()["in_flight"] == 0


def test_leaving_the_context_ends_hanging_calls() -> None:
    settings = EndpointSettings(
        latency_ms_median=0.0, hang_s=3600, failure_rate=1.0, failure_kinds=("timeout",)
    )
    endpoint = RunningEndpoint(settings, ANSWERS)

    async def ask(client: openai.AsyncOpenAI) -> None:
        call = asyncio.ensure_future(first_post(client))
        while not endpoint.stats()["in_flight"]:
            await asyncio.sleep(0)
        await asyncio.to_thread(endpoint.__exit__, None, None, None)
        with pytest.raises(openai.APIConnectionError):
            await call

    endpoint.__enter__()
    with_client(endpoint, ask)
    assert endpoint.stats()["in_flight"] == 0


def test_control_over_http(endpoint: RunningEndpoint) -> None:
    with_client(endpoint, first_post)
    url = control_url(endpoint)
    body = b'{"failure_rate": 1.0, "failure_kinds": ["500"], "latency_ms_median": 0, "reset": true}'
    status, stats = post_json(url, body)
    assert status == 200
    assert stats["received"] == 0
    with pytest.raises(openai.InternalServerError):
        with_client(endpoint, first_post)
    request = urllib.request.Request(  # noqa: S310 - a URL of our own server
        url.replace("control", "stats"), headers={"Authorization": f"Bearer {KEY}"}
    )
    with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310 - as above
        assert json.load(response) == endpoint.stats()
    assert endpoint.stats()["failures"] == {"500": 1}


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"[]",
        b'{"reset": 1}',
        b'{"failure_rate": 2}',
        b'{"failure_kinds": "500"}',
        b'{"failure_rate": 1, "api_key": "mine"}',
    ],
)
def test_wrong_control_changes_nothing(endpoint: RunningEndpoint, body: bytes) -> None:
    status, answer = post_json(control_url(endpoint), body)
    assert status == 400
    assert "Operator action" in answer["error"]["message"]
    assert with_client(endpoint, first_post).choices[0].message.content == POSTS[0].expert


def test_concurrent_calls_are_counted() -> None:
    settings = EndpointSettings(
        latency_ms_median=0.0, hang_s=3600, failure_rate=1.0, failure_kinds=("timeout",)
    )
    with RunningEndpoint(settings, ANSWERS) as endpoint:

        async def ask(client: openai.AsyncOpenAI) -> None:
            calls = [asyncio.ensure_future(first_post(client)) for _ in range(5)]
            while endpoint.stats()["in_flight"] < len(calls):
                await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

        with_client(endpoint, ask)
        assert endpoint.stats()["max_concurrent"] == 5


def test_a_server_runs_until_cancelled_and_frees_its_port() -> None:
    async def run() -> None:
        with RunningEndpoint(FAST, ANSWERS) as endpoint:
            port = int(endpoint.base_url.split(":")[2].split("/")[0])
            with pytest.raises(OSError, match="address already in use"):
                await serve(FAST, ANSWERS, "127.0.0.1", port)
        serving = asyncio.ensure_future(serve(FAST, ANSWERS, "127.0.0.1", port))
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    asyncio.run(run())


def test_the_url_is_known_only_while_running() -> None:
    with pytest.raises(RuntimeError, match="Operator action"):
        _ = RunningEndpoint(FAST, ANSWERS).base_url

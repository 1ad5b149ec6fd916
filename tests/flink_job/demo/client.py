"""The genuine OpenAI client on the endpoint, and plain HTTP beside it."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import openai
from openai.types.chat import ChatCompletion

from flink_job.demo.answers import answers_from_posts
from flink_job.demo.endpoint import EndpointSettings, RunningEndpoint
from flink_job.demo.posts import generate

POSTS = list(generate(40, seed=1))
ANSWERS = answers_from_posts(POSTS)
KEY = "a-key-for-tests"
FAST = EndpointSettings(api_key=KEY, latency_ms_median=1.0, hang_s=0.01)
Ask = Callable[[openai.AsyncOpenAI], Awaitable[Any]]


def with_client(endpoint: RunningEndpoint, ask: Ask, key: str = KEY, timeout_s: float = 20) -> Any:
    async def run() -> Any:
        async with openai.AsyncOpenAI(
            api_key=key,
            base_url=endpoint.base_url,
            max_retries=0,
            timeout=timeout_s,
            http_client=openai.DefaultAioHttpClient(),
        ) as client:
            return await ask(client)

    return asyncio.run(run())


async def classify(client: openai.AsyncOpenAI, content: str, **options: Any) -> ChatCompletion:
    completion: ChatCompletion = await client.chat.completions.create(
        model="some-model",
        messages=[
            {"role": "system", "content": "Classify the text: ok or abusive."},
            {"role": "user", "content": content},
        ],
        **options,
    )
    return completion


def delimited(text: str) -> str:
    return json.dumps({"text": text})


def first_post(client: openai.AsyncOpenAI) -> Awaitable[ChatCompletion]:
    return classify(client, delimited(POSTS[0].text))


def post_json(url: str, body: bytes, key: str = KEY) -> tuple[int, Any]:
    request = urllib.request.Request(  # noqa: S310 - a URL of our own server
        url, data=body, headers={"Authorization": f"Bearer {key}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310 - as above
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def control_url(endpoint: RunningEndpoint) -> str:
    return endpoint.base_url.removesuffix("/v1") + "/control"

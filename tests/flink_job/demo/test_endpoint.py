"""The endpoint, as the genuine OpenAI client sees it."""

import asyncio
import math

import openai
import pytest
from openai.types.chat import ChatCompletion

from flink_job.demo.behaviour import FailureKind
from flink_job.demo.endpoint import EndpointSettings, RunningEndpoint, make_app
from flink_job.demo.posts import LABELS
from tests.flink_job.demo.client import (
    ANSWERS,
    FAST,
    KEY,
    POSTS,
    classify,
    control_url,
    delimited,
    first_post,
    post_json,
    with_client,
)


def test_known_posts_get_their_answers_and_are_counted(endpoint: RunningEndpoint) -> None:
    async def ask(client: openai.AsyncOpenAI) -> list[ChatCompletion]:
        return await asyncio.gather(*(classify(client, delimited(p.text)) for p in POSTS))

    completions: list[ChatCompletion] = with_client(endpoint, ask)
    assert [c.choices[0].message.content for c in completions] == [p.expert for p in POSTS]
    assert all(c.choices[0].finish_reason == "stop" for c in completions)
    assert all(c.model == "some-model" and c.object == "chat.completion" for c in completions)
    assert len({c.id for c in completions}) == len({p.text for p in POSTS})
    usages = [c.usage for c in completions if c.usage is not None]
    assert len(usages) == len(POSTS)
    assert all(u.total_tokens == u.prompt_tokens + u.completion_tokens for u in usages)
    stats = endpoint.stats()
    assert stats["received"] == stats["answered"] == len(POSTS)
    assert stats["distinct_posts"] == len({p.text for p in POSTS})
    assert stats["by_status"] == {"200": len(POSTS)}
    assert stats["tokens_in"] == sum(u.prompt_tokens for u in usages)
    assert stats["tokens_out"] == sum(u.completion_tokens for u in usages)
    assert stats["in_flight"] == stats["unlabelled"] == stats["abandoned"] == 0
    assert stats["failures"] == {}


@pytest.mark.parametrize(
    "content",
    [
        delimited("a text that nobody wrote"),
        delimited("a lone surrogate: \ud83d"),
        POSTS[0].text,
        '{"text": 1}',
        '{"text": "a", "more": "b"}',
        "[" * 100_000,
        "",
    ],
)
def test_anything_else_gets_a_sentence_that_is_no_label(
    endpoint: RunningEndpoint, content: str
) -> None:
    completion: ChatCompletion = with_client(endpoint, lambda client: classify(client, content))
    answer = completion.choices[0].message.content
    assert answer
    assert not any(label in answer.lower().split() for label in LABELS)
    assert endpoint.stats()["unlabelled"] == 1
    assert endpoint.stats()["answered"] == 0


def test_logprobs_come_when_asked_for(endpoint: RunningEndpoint) -> None:
    async def ask(client: openai.AsyncOpenAI) -> list[ChatCompletion]:
        content = delimited(POSTS[0].text)
        return [
            await classify(client, content),
            await classify(client, content, logprobs=True, top_logprobs=2),
            await classify(client, "unknown", logprobs=True),
        ]

    without, known, unknown = with_client(endpoint, ask)
    assert without.choices[0].logprobs is None
    (token,) = known.choices[0].logprobs.content
    assert token.token == POSTS[0].expert
    assert bytes(token.bytes).decode() == token.token
    assert {each.token for each in token.top_logprobs} == set(LABELS)
    assert sum(math.exp(each.logprob) for each in token.top_logprobs) == pytest.approx(1.0)
    assert token.top_logprobs[0].logprob == token.logprob < 0
    tokens = unknown.choices[0].logprobs.content
    assert "".join(each.token for each in tokens) == unknown.choices[0].message.content


@pytest.mark.parametrize(
    ("kind", "error", "status"),
    [
        ("429", openai.RateLimitError, 429),
        ("500", openai.InternalServerError, 500),
        ("timeout", openai.InternalServerError, 504),
        ("drop", openai.APIConnectionError, 444),
    ],
)
def test_failures_reach_the_client(
    endpoint: RunningEndpoint, kind: FailureKind, error: type[openai.APIError], status: int
) -> None:
    endpoint.control(failure_rate=1.0, failure_kinds=[kind])
    with pytest.raises(error) as caught:
        with_client(endpoint, first_post)
    if isinstance(caught.value, openai.APIStatusError):
        assert caught.value.status_code == status
        assert caught.value.response.headers.get("Retry-After") == ("1" if kind == "429" else None)
    stats = endpoint.stats()
    assert stats["failures"] == {kind: 1}
    assert stats["by_status"] == {str(status): 1}
    assert stats["answered"] == stats["tokens_out"] == stats["in_flight"] == 0


def test_nonsense_is_an_answer_without_a_label(endpoint: RunningEndpoint) -> None:
    endpoint.control(failure_rate=1.0, failure_kinds=["nonsense"])
    completion: ChatCompletion = with_client(endpoint, first_post)
    answer = completion.choices[0].message.content or ""
    assert not any(label in answer.lower().split() for label in LABELS)
    assert endpoint.stats()["failures"] == {"nonsense": 1}
    assert endpoint.stats()["unlabelled"] == 1


def test_without_the_key_nothing_is_to_be_had(endpoint: RunningEndpoint) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        with_client(endpoint, first_post, key="another-key")
    assert KEY not in str(caught.value)
    with pytest.raises(openai.AuthenticationError):
        with_client(endpoint, lambda client: client.models.list(), key="another-key")
    assert post_json(control_url(endpoint), b'{"failure_rate": 1}', key="ü")[0] == 401
    assert endpoint.stats()["by_status"] == {"401": 1}
    assert endpoint.stats()["distinct_posts"] == 0
    with_client(endpoint, first_post)


def test_the_model_is_listed(endpoint: RunningEndpoint) -> None:
    async def ask(client: openai.AsyncOpenAI) -> list[str]:
        return [model.id async for model in client.models.list()]

    assert with_client(endpoint, ask) == ["demo-expert"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b'{"model": "m"}',
        b'{"model": "m", "messages": []}',
        b'{"model": "m", "messages": ["hello"]}',
        b'{"model": "m", "messages": [{"role": "user", "content": null}]}',
        b'{"model": "m", "messages": [{"role": "user", "content": "a"}], "stream": true}',
        b'{"model": "m", "messages": [{"role": "user", "content": "a"}], "logprobs": true,'
        b' "top_logprobs": 21}',
    ],
)
def test_requests_outside_the_schema_are_refused(endpoint: RunningEndpoint, body: bytes) -> None:
    status, answer = post_json(f"{endpoint.base_url}/chat/completions", body)
    assert status == 400
    assert "Operator action" in answer["error"]["message"]
    assert endpoint.stats()["by_status"] == {"400": 1}


def test_the_same_calls_meet_the_same_fate() -> None:
    settings = EndpointSettings(
        seed=3,
        latency_ms_median=1.0,
        failure_rate=0.5,
        failure_kinds=("429", "500", "nonsense"),
    )

    async def ask(client: openai.AsyncOpenAI) -> list[str]:
        fates = []
        for post in (*POSTS[:10], *POSTS[:10]):
            try:
                completion = await classify(client, delimited(post.text))
                fates.append(f"{completion.id} {completion.choices[0].message.content}")
            except openai.APIStatusError as error:
                fates.append(str(error.status_code))
        return fates

    with RunningEndpoint(settings, ANSWERS) as endpoint:
        first = with_client(endpoint, ask)
        endpoint.control(reset=True)
        assert with_client(endpoint, ask) == first
        # Another attempt at a text is another draw.
        assert first[:10] != first[10:]
    assert len({fate.split()[0] for fate in first if fate.isdigit()}) == 2


def test_the_app_has_these_routes() -> None:
    resources = make_app(FAST, ANSWERS).router.resources()
    routes = {resource.canonical for resource in resources}
    assert routes == {"/v1/chat/completions", "/v1/models", "/stats", "/control"}

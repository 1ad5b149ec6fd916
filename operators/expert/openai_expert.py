"""The LLM behind any OpenAI-compatible chat completions endpoint."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec
import openai
from pydantic import SecretStr

from operators.expert.failures import Failure, http
from operators.expert.port import ExpertBusy, ExpertRefused, ExpertUnavailable, Reply
from operators.expert.prompt import parse_label, system_message, user_message
from operators.expert.tariff import most_prompt_tokens
from operators.records import Event
from operators.secrets import read_secret
from operators.settings import OpenAIExpertSettings, TaskSettings

_TOO_MANY, _SERVER_ERROR = 429, 500


def api_key(settings: OpenAIExpertSettings) -> SecretStr:
    """Read the key from the environment, or from the file that it names.

    Raises
    ------
    ValueError
        If neither is set, or what is there is empty.
    """
    key = read_secret(settings.api_key_env)
    if key is None:
        message = (
            f"expert.api_key_env: the environment variable {settings.api_key_env} is not set. "
            f"Operator action: export it, or {settings.api_key_env}_FILE with the path of a file "
            "that holds the key, where the job runs (any text does for an endpoint that asks for "
            "no key)."
        )
        raise ValueError(message)
    return SecretStr(key)


class OpenAIExpert:
    """Asks an LLM for the label of one event a call.

    The client retries nothing by itself: retries are paid, so they are made where the budget is
    known. Must be made and used on one event loop.
    """

    def __init__(self, settings: OpenAIExpertSettings, task: TaskSettings, key: SecretStr) -> None:
        self._settings = settings
        self._labels = task.labels
        self._system = system_message(task.prompt, task.labels)
        self._around = self._most_around = most_prompt_tokens(self._system, "")
        self._client = openai.AsyncOpenAI(
            api_key=key.get_secret_value(),
            base_url=settings.base_url,
            max_retries=0,
            timeout=settings.timeout_s,
            http_client=openai.DefaultAioHttpClient(),
        )

    async def ask(self, event: Event) -> Reply:
        """Make one call.

        Raises
        ------
        ExpertUnavailable
            On a rate limit, a server error, a timeout or a broken connection.
        ExpertRefused
            If the request was refused, or the answer is none of the labels.
        """
        completion = await self._complete(event)
        usage = completion.usage or _Usage()
        # Some servers say -1 for what they do not know.
        tokens_in = max(0, usage.prompt_tokens or 0)
        tokens_out = max(0, usage.completion_tokens or 0)
        self._learn_around(event, tokens_in)
        content = completion.choices[0].message.content if completion.choices else None
        label = parse_label(content, self._labels)
        if label is None:
            raise ExpertRefused(Failure.NONSENSE, tokens_in=tokens_in, tokens_out=tokens_out)
        return Reply(label, tokens_in, tokens_out)

    def most_tokens(self, event: Event) -> tuple[int, int]:
        """See `Expert.most_tokens`. Tight enough to spend by once a first answer has come."""
        text = user_message(event.text, self._settings.max_chars)
        return self._around + len(text.encode()), self._settings.max_tokens

    def _learn_around(self, event: Event, tokens_in: int) -> None:
        """All prompts have all but the text in common: it took no more than any of them whole."""
        most, _ = self.most_tokens(event)
        if tokens_in > most:  # they do not have it in common, then
            self._around = self._most_around
        elif tokens_in > 0:
            self._around = min(self._around, tokens_in)

    async def gives_log_probabilities(self, event: Event) -> bool:
        """Make one call that asks for them, and say whether they came. Raises as `ask`."""
        completion = await self._complete(event, logprobs=True)
        return bool(completion.choices and completion.choices[0].logprobs)

    async def _complete(self, event: Event, **options: Any) -> _Completion:
        chosen = self._settings
        if chosen.temperature is not None:
            options["temperature"] = chosen.temperature
        try:
            response = await self._client.chat.completions.with_raw_response.create(
                model=chosen.model,
                messages=[
                    {"role": "system", "content": self._system},
                    {"role": "user", "content": user_message(event.text, chosen.max_chars)},
                ],
                max_completion_tokens=chosen.max_tokens,
                **options,
            )
        except openai.APIConnectionError as error:  # timeouts too
            raise _lost(error) from error
        except openai.APIStatusError as error:
            raise _failed(error) from error
        return _validated(response.content)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    logprobs: dict[str, Any] | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


def _validated(body: bytes) -> _Completion:
    """Hold a response against the part of the schema that is used; the client checks nothing."""
    try:
        return msgspec.json.decode(body, type=_Completion)
    except msgspec.DecodeError as error:  # a proxy's log-in page, for instance
        raise ExpertRefused(Failure.MALFORMED) from error


# Raised by aiohttp before a byte of the request is sent: nobody listens, no such host, no TLS.
_UNHEARD = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


def _lost(error: openai.APIConnectionError) -> ExpertUnavailable:
    """What became of a request without a response; its transport calls nearly all a timeout."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__
    reached = not any(isinstance(cause, _UNHEARD) for cause in causes)
    broken = any(
        isinstance(c, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError) for c in causes
    )
    slow = reached and not broken and isinstance(error, openai.APITimeoutError)
    return ExpertUnavailable(Failure.TIMEOUT if slow else Failure.CONNECTION, reached=reached)


def _failed(error: openai.APIStatusError) -> ExpertUnavailable | ExpertRefused:
    status = error.status_code
    if status == _TOO_MANY:
        return ExpertBusy(Failure.RATE_LIMIT, retry_after_s=_retry_after(error))
    if status >= _SERVER_ERROR:
        return ExpertUnavailable(Failure.SERVER_ERROR, retry_after_s=_retry_after(error))
    return ExpertRefused(http(status))


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds that the provider asks for; None if it does not say, or not in seconds."""
    try:
        return max(0.0, float(error.response.headers.get("retry-after", "")))
    except ValueError:
        return None

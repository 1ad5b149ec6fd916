"""The expert, its retries and its price."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from operators.settings.base import Section


class PriceSettings(Section):
    """What the provider charges, for the cost of a decision."""

    input_usd: Annotated[float, Field(ge=0)] = 0.0
    """US dollars for a million prompt tokens."""
    output_usd: Annotated[float, Field(ge=0)] = 0.0
    """US dollars for a million answer tokens."""


class RetrySettings(Section):
    """The one retry layer between the job and the provider."""

    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    """Calls for one event at the most. Each is paid from the budget."""
    first_wait_s: Annotated[float, Field(ge=0)] = 0.5
    """Wait before the second attempt; doubles each time, with jitter. Retry-After is honoured."""
    longest_wait_s: Annotated[float, Field(gt=0)] = 20.0
    """No wait is longer, whatever the provider asks for."""


class BreakerSettings(Section):
    """When an endpoint that does not answer is left alone for a while.

    Events get their small-level answer then, marked `degraded`, with the failure `circuit_open`.
    """

    failures: Annotated[int, Field(ge=1)] = 10
    """Server errors, timeouts and broken connections on end, for each subtask, that open it."""
    first_open_s: Annotated[float, Field(gt=0, le=86_400)] = 1.0
    """How long no call is made at first; doubles each time that the next call fails too."""
    longest_open_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """It never stays open for longer."""

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.longest_open_s < self.first_open_s:
            message = "longest_open_s must be at least first_open_s"
            raise ValueError(message)
        return self


class OpenAIExpertSettings(Section):
    """Any OpenAI-compatible chat completions endpoint."""

    kind: Literal["openai"] = "openai"
    model: Annotated[str, Field(min_length=1)]
    base_url: Annotated[str, Field(pattern=r"^https?://[^@]*$")] = "https://api.openai.com/v1"
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key, never the key itself. The same name with
    _FILE behind it names a file that holds it."""
    concurrency: Annotated[int, Field(ge=1, le=4096)] = 32
    """Calls in flight at the most, for each subtask."""
    backlog: Annotated[int, Field(ge=1)] = 10_000
    """Deferrals that may wait for their answer, for each subtask. What comes then gets the small
    levels' answer at once, degraded: a flood fills no memory and holds up no event."""
    timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """For one call."""
    max_tokens: Annotated[int, Field(ge=1)] = 16
    """Length of an answer at the most, in tokens."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 0.0
    """Null leaves it out, for models that refuse it."""
    max_chars: Annotated[int, Field(ge=16)] = 20_000
    """Characters of a text that are sent; the rest is cut off."""
    retry: RetrySettings = RetrySettings()
    breaker: BreakerSettings = BreakerSettings()
    price: PriceSettings = PriceSettings()


class RecordedExpertSettings(Section):
    """Replays answers that an LLM gave before, from a column of the source."""

    kind: Literal["recorded"] = "recorded"
    column: Annotated[str, Field(min_length=1)]
    """Column (CSV) or field (JSON Lines) with the recorded answer."""


Expert = Annotated[OpenAIExpertSettings | RecordedExpertSettings, Field(discriminator="kind")]

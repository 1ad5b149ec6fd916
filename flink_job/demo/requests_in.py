"""What comes in over the wire: the part of the OpenAI schema that the endpoint reads."""

import json
from dataclasses import dataclass
from typing import Any, Final

TOP_LOGPROBS_MAX: Final = 20


class BadRequestError(ValueError):
    """A request outside the schema. The message is for its sender."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A valid chat-completion request, as far as the endpoint cares.

    Attributes
    ----------
    model
        As the caller named it.
    content
        Of the last message of the role ``user``.
    prompt_characters
        Of all messages.
    top_logprobs
        Alternatives wanted for each token, 0 to 20; None if no logprobs are wanted.
    """

    model: str
    content: str
    prompt_characters: int
    top_logprobs: int | None


def parse_request(body: bytes) -> ChatRequest:
    """Read the body of ``POST /v1/chat/completions``.

    Raises
    ------
    BadRequestError
        If the body is no JSON, lacks a model or a user message, has messages whose content is not
        a string, or asks for what the endpoint cannot do: a stream.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequestError("the body is not JSON. Operator action: send JSON") from error
    match request:
        case {"model": str(model), "messages": [*messages]}:
            contents = [_content(message) for message in messages]
        case _:
            raise BadRequestError("Operator action: send model, a string, and messages, a list")
    asked = [content for role, content in contents if role == "user"]
    if not asked:
        raise BadRequestError("no message has the role user. Operator action: add one")
    if request.get("stream"):
        raise BadRequestError("streams are not supported. Operator action: leave stream out")
    return ChatRequest(
        model=model,
        content=asked[-1],
        prompt_characters=sum(len(content) for _, content in contents),
        top_logprobs=_top_logprobs(request),
    )


def parse_control(body: bytes) -> tuple[dict[str, Any], bool]:
    """Read the body of ``POST /control``.

    Returns
    -------
    tuple
        The settings to change, with unchecked names and values, and whether to reset the counters.

    Raises
    ------
    BadRequestError
        If the body is no JSON object, or its ``reset`` is no boolean.
    """
    try:
        control = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequestError("the body is not JSON. Operator action: send JSON") from error
    if not isinstance(control, dict):
        raise BadRequestError("Operator action: send a JSON object")
    reset = control.pop("reset", False)
    if not isinstance(reset, bool):
        raise BadRequestError("Operator action: give reset as true or false")
    return control, reset


def post_text(content: str) -> str | None:
    """Return the text of ``{"text": "..."}``, or None if the content is anything else."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return None
    match data:
        case {"text": str(text), **rest} if not rest:
            return text
        case _:
            return None


def _content(message: object) -> tuple[str, str]:
    match message:
        case {"role": str(role), "content": str(content)}:
            return role, content
        case _:
            raise BadRequestError("Operator action: give each message a role and content, strings")


def _top_logprobs(request: dict[str, Any]) -> int | None:
    if not request.get("logprobs"):
        return None
    top = request.get("top_logprobs") or 0
    if not isinstance(top, int) or not 0 <= top <= TOP_LOGPROBS_MAX:
        raise BadRequestError(f"Operator action: give top_logprobs from 0 to {TOP_LOGPROBS_MAX}")
    return top

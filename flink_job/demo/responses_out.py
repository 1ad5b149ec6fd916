"""What goes out over the wire: responses with all that the OpenAI schema asks for."""

import math
import random
import re
import time
from collections.abc import Sequence
from typing import Any, Final

from flink_job.demo.requests_in import ChatRequest

_CHARACTERS_PER_TOKEN: Final = 4
# The simulated LLM is fairly sure of whatever it says.
_CONFIDENCE_MIN: Final = 0.6
_CONFIDENCE_MAX: Final = 0.999
_TOKEN = re.compile(r"\s*\S+")


def completion(
    request: ChatRequest, answer: str, others: Sequence[str], rng: random.Random
) -> dict[str, Any]:
    """Write a complete response.

    Parameters
    ----------
    request
        Gives the model's name, the prompt's length and the wish for logprobs.
    answer
        The content of the only choice; not empty.
    others
        Answers that were possible too, for ``top_logprobs``; without `answer`.
    rng
        Draws the id and the logprobs.

    Returns
    -------
    dict
        Fit for JSON. Token counts are a quarter of the characters, rounded up.
    """
    tokens_in = math.ceil(request.prompt_characters / _CHARACTERS_PER_TOKEN)
    tokens_out = math.ceil(len(answer) / _CHARACTERS_PER_TOKEN)
    logprobs = None
    identifier = f"chatcmpl-{rng.getrandbits(96):024x}"
    if request.top_logprobs is not None:
        tokens = _TOKEN.findall(answer)
        # Only a label has alternatives: nobody asks what else a sentence could have been.
        rivals = others if len(tokens) == 1 else ()
        content = [_token_logprobs(token, rivals, request.top_logprobs, rng) for token in tokens]
        logprobs = {"content": content, "refusal": None}
    return {
        "id": identifier,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request.model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": answer, "refusal": None},
                "logprobs": logprobs,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
        },
    }


def error_body(message: str, kind: str, code: str | None = None) -> dict[str, Any]:
    """Write the body of a response whose status is an error."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def models_body(model: str) -> dict[str, Any]:
    """Write the response of ``GET /v1/models``."""
    listed = {"id": model, "object": "model", "created": 0, "owned_by": "demo"}
    return {"object": "list", "data": [listed]}


def _token_logprobs(
    token: str, rivals: Sequence[str], top: int, rng: random.Random
) -> dict[str, Any]:
    confidence = rng.uniform(_CONFIDENCE_MIN, _CONFIDENCE_MAX)
    chances = {token: confidence}
    # Never zero: a logprob must be finite.
    shares = [1.0 - rng.random() for _ in rivals]
    for rival, share in zip(rivals, shares, strict=True):
        chances[rival] = (1.0 - confidence) * share / sum(shares)
    ranked = sorted(chances, key=lambda each: -chances[each])
    return {
        **_logprob(token, confidence),
        "top_logprobs": [_logprob(each, chances[each]) for each in ranked[:top]],
    }


def _logprob(token: str, chance: float) -> dict[str, Any]:
    return {"token": token, "logprob": math.log(chance), "bytes": list(token.encode())}

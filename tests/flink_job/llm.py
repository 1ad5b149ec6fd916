"""A local endpoint for the posts of the fixtures, and the settings of an expert that asks it."""

from __future__ import annotations

from typing import Any

from flink_job.demo.answers import answers_from_posts
from flink_job.demo.endpoint import EndpointSettings, RunningEndpoint
from flink_job.demo.posts import generate

KEY_ENV = "TEST_CASCADE_KEY"
KEY = "sk-hunter2-is-the-key"


def endpoint(posts: int, failure_rate: float = 0.0) -> RunningEndpoint:
    """An endpoint that answers at once, or fails in each of its ways."""
    return RunningEndpoint(
        EndpointSettings(
            api_key=KEY,
            latency_ms_median=0,
            failure_rate=failure_rate,
            hang_s=0.05,
            retry_after_s=0,
        ),
        answers_from_posts(generate(posts, 0)),
    )


def expert(base_url: str, **changes: Any) -> dict[str, Any]:
    """The expert's section of a job."""
    return {
        "kind": "openai",
        "model": "m",
        "base_url": base_url,
        "api_key_env": KEY_ENV,
        "retry": {"attempts": 3, "first_wait_s": 0, "longest_wait_s": 0.001},
        "price": {"input_usd": 1.0, "output_usd": 2.0},
        **changes,
    }

"""A job on streams in a real Redis, and what its producers would do there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flink_job.settings import JobSettings
from model_store.redis_connection import RedisConnection

SHARDS = 3


def job_on(streams: Sequence[str], **source: Any) -> JobSettings:
    return JobSettings.model_validate(
        {
            "task": {"name": "t", "labels": ["a", "b"], "prompt": "p"},
            "source": {"kind": "redis", "streams": streams, **source},
            "sink": {"path": "out"},
            "expert": {"kind": "openai", "model": "m"},
            "budget": {"share": 0.1},
            "flink": {"shards": SHARDS},
        }
    )


@dataclass
class Producer:
    """Adds entries, and does other things to streams."""

    redis: RedisConnection

    def do(self, *command: object) -> Any:
        return self.redis.call(lambda client: client.execute_command(*command))

    def add(self, stream: str, *events: Any, entry: str = "*") -> list[str]:
        """Add events, or contents as they are; returns their ids."""
        contents = [e if isinstance(e, bytes) else json.dumps(e).encode() for e in events]
        return [self.do("XADD", stream, entry, "json", c).decode() for c in contents]

"""Jobs in the local mini cluster: one JVM for all of them, started by the first."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flink_job.demo.posts import LABELS, generate
from flink_job.settings import JobSettings

URL_ENV = "FLINK_CASCADE_REDIS_URL"


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    """A file of 800 posts with the expert's answers beside them, and three lines that are none."""
    path = tmp_path / "posts.jsonl"
    lines = [
        json.dumps(
            {"id": p.id, "author": p.author, "text": p.text, "label": p.label, "expert": p.expert}
        )
        for p in generate(800, 5)
    ]
    lines[100:100] = ['{"id": "x1"', '{"id": "x2", "author": "a"}', '["x3"]']
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def make_job(
    tmp_path: Path, posts: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., JobSettings]:
    """Makes jobs on those posts that share one real Redis and one task, each with its own sink."""
    monkeypatch.setenv(URL_ENV, redis_url)
    namespace = f"test-{uuid.uuid4().hex[:8]}"

    def make(**changes: Any) -> JobSettings:
        content: dict[str, Any] = {
            "task": {"name": "moderation", "labels": LABELS, "prompt": "Is it abusive?"},
            "source": {"path": posts, "block": 100, "fields": {"key": "author", "label": "label"}},
            "sink": {"path": tmp_path / f"out-{uuid.uuid4().hex[:8]}"},
            "store": {"kind": "redis", "namespace": namespace},
            "levels": [{"kind": "linear", "features": {"bits": 16}}],
            "expert": {"kind": "recorded", "column": "expert"},
            "budget": {"calls": 250},
            "flink": {"checkpoint_interval_s": 0.5},
        }
        return JobSettings.model_validate(content | changes)

    return make


@pytest.fixture
def silent() -> Callable[[object], None]:
    """Takes no interest in progress."""
    return lambda _: None

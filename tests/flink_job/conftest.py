"""A small job on generated posts, as a mapping that a test can spoil before it is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flink_job.demo.posts import LABELS, generate
from flink_job.settings import JobSettings

POSTS = 300
CALLS = 120


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    """Posts with the expert's answers, and one line that is none."""
    path = tmp_path / "posts.jsonl"
    lines = [
        json.dumps(
            {"id": p.id, "author": p.author, "text": p.text, "label": p.label, "expert": p.expert}
        )
        for p in generate(POSTS, 0)
    ]
    path.write_text("\n".join([*lines, '{"id": "broken", "text": ']), encoding="utf-8")
    return path


@pytest.fixture
def content() -> dict[str, Any]:
    """A job that is valid; `posts` makes its source."""
    return {
        "task": {"name": "moderation", "labels": list(LABELS), "prompt": "Is it abusive?"},
        "source": {
            "path": "posts.jsonl",
            "block": 50,
            "fields": {"key": "author", "label": "label"},
        },
        "sink": {"path": "out"},
        "levels": [{"kind": "linear", "features": {"bits": 14, "characters": None}}],
        "expert": {"kind": "recorded", "column": "expert"},
        "budget": {"calls": CALLS},
    }


@pytest.fixture
def write_job(tmp_path: Path) -> Callable[[Any], Path]:
    """Writes a mapping as a job's YAML into the folder of the posts."""

    def write(content: Any) -> Path:
        path = tmp_path / "job.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    return write


@pytest.fixture
def make_job(tmp_path: Path, content: dict[str, Any]) -> Callable[..., JobSettings]:
    """The job with some of its sections changed; its source and sink are in `tmp_path`."""

    def make(**changes: dict[str, Any]) -> JobSettings:
        merged = dict(content)
        for section, change in changes.items():
            merged[section] = {**content.get(section, {}), **change}
        for section in ("source", "sink"):
            path = tmp_path / merged[section]["path"]
            merged[section] = {**merged[section], "path": path}
        return JobSettings.model_validate(merged)

    return make

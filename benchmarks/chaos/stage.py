"""A job on its way, between the servers that it needs: fed, watched, and counted at both ends."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.chaos.row import Row, count
from benchmarks.chaos.servers import SwitchableExpert
from flink_job import output
from flink_job.demo.answers import answers_from_posts
from flink_job.demo.endpoint import EndpointSettings
from flink_job.demo.posts import LABELS, Post, generate
from flink_job.evaluation import read_decisions
from flink_job.settings import load_job
from operators.budget import SpendingPlan
from operators.records import Decision

URL_ENV, KEY_ENV = "FLINK_CASCADE_REDIS_URL", "FLINK_CASCADE_CHAOS_KEY"
_KEY = "sk-chaos"
_POLL_S = 0.2
_PATIENCE_S = 600.0


@dataclass(frozen=True)
class Play:
    """What a scenario needs.

    Parameters
    ----------
    posts
        How many there are to feed, seeded.
    endpoint
        How the LLM behaves at first.
    changes
        To the job's settings, section by section.
    budget
        The job's.
    url_env
        Name of the variable with the URL of its Redis.
    """

    name: str
    posts: int = 9000
    seed: int = 3
    endpoint: EndpointSettings = field(default_factory=EndpointSettings)
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    budget: Mapping[str, Any] = field(default_factory=lambda: {"share": 0.3, "burst": 200})
    url_env: str = URL_ENV


class Stage:
    """Where a scenario plays; see `staged`.

    Attributes
    ----------
    environment
        Variables that client and workers need.
    job_file
        The job's YAML.
    kills, under_way
        See `strike`.
    note
        What the table should say of it.
    """

    def __init__(self, play: Play, folder: Path, redis_url: str, expert: SwitchableExpert) -> None:
        self.play = play
        self.environment = {play.url_env: redis_url, KEY_ENV: _KEY}
        self.expert = expert
        self._namespace = f"chaos-{uuid.uuid4().hex[:8]}"
        self.kills = 0
        self.under_way = 0
        self.note = ""
        self.folder = folder
        self.sink = folder / "out"
        self.job_file = folder / "job.yaml"
        self._in = folder / "in"
        self._in.mkdir()
        self._posts = iter(generate(play.posts, play.seed))
        self._files = 0
        self.ids: list[str] = []
        self.job_file.write_text(yaml.safe_dump(self._settings()), encoding="utf-8")

    def feed(self, posts: int, *, beside: Sequence[bytes] = (), ids: Sequence[str] = ()) -> None:
        """Put the next posts into the source, and lines beside them of which `ids` are events."""
        lines = [_line(post) for _, post in zip(range(posts), self._posts, strict=False)]
        self.ids += [json.loads(line)["id"] for line in lines]
        self.ids += ids
        self._files += 1
        part = self._in / f".{self._files:06d}.jsonl"
        part.write_bytes(b"\n".join([*lines, *beside]) + b"\n")
        part.rename(part.with_name(part.name[1:]))

    @contextmanager
    def feeding(self, posts_a_second: int) -> Iterator[None]:
        """Feed so many a second while this is open."""
        done = threading.Event()

        def go_on() -> None:
            while not done.wait(1.0):
                self.feed(posts_a_second)

        thread = threading.Thread(target=go_on, name="feed", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def strike(self) -> None:
        """Note that something is about to be killed."""
        self.kills += 1
        self.under_way += self.expert.in_flight

    def decisions(self) -> list[Decision]:
        """Those that are committed."""
        folder = self.sink / output.DECISIONS
        return read_decisions(folder) if folder.is_dir() else []

    def dead_letters(self) -> int:
        """How many are committed."""
        folder = self.sink / output.DEAD_LETTERS
        files = (path for path in folder.rglob("*.jsonl") if not path.name.startswith("."))
        return sum(bool(line.strip()) for path in files for line in path.open("rb"))

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something to become true.

        Raises
        ------
        TimeoutError
            If it takes too long, which names it.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.play.name}: waited in vain for {what}")
            time.sleep(_POLL_S)

    def until_moving(self) -> None:
        """Wait for more decisions to be committed than there are."""
        before = len(self.decisions())
        self.until(lambda: len(self.decisions()) > before, "more decisions")

    def until_asking(self, calls: int = 1) -> None:
        """Wait for the expert to have so many more calls, and some of them under way."""
        wanted = self.expert.received + calls
        self.until(
            lambda: self.expert.received >= wanted and self.expert.in_flight > 0, "calls under way"
        )

    def until_done(self) -> None:
        """Wait for all that was fed to be decided."""
        self.until(lambda: len(self.decisions()) >= len(self.ids), "all decisions")

    def checkpoint(self) -> str:
        """The latest one that is complete."""
        return str(output.last_checkpoint(self.sink))

    def row(self) -> Row:
        """What it came to."""
        budget = SpendingPlan(load_job(self.job_file).budget).cap(len(self.ids))
        assert budget is not None
        return count(
            self.play.name,
            self.ids,
            self.decisions(),
            calls=self.expert.received,
            budget=budget,
            under_way=self.under_way,
            kills=self.kills,
            note=self.note,
        )

    def _settings(self) -> dict[str, Any]:
        content: dict[str, dict[str, Any]] = {
            "task": {"name": "moderation", "labels": list(LABELS), "prompt": "Is it abusive?"},
            "source": {"path": "in", "watch": True, "block": 50, "max_lag": 1000},
            "sink": {"path": "out"},
            "store": {"kind": "redis", "url_env": self.play.url_env, "namespace": self._namespace},
            "expert": {
                "kind": "openai",
                "model": "m",
                "base_url": self.expert.base_url,
                "api_key_env": KEY_ENV,
                "timeout_s": 60,
            },
            "budget": dict(self.play.budget),
            "flink": {"shards": 16, "checkpoint_interval_s": 1, "restarts": 1000},
        }
        for section, change in self.play.changes.items():
            content[section] = {**content[section], **change}
        levels = [{"kind": "linear", "features": {"bits": 14}}]
        return {**content, "levels": levels}


@contextmanager
def staged(play: Play, folder: Path, redis_url: str) -> Iterator[Stage]:
    """A stage with its endpoint up, nothing fed yet, and its environment that of this process."""
    folder.mkdir(parents=True, exist_ok=True)
    answers = answers_from_posts(generate(play.posts, play.seed))
    with SwitchableExpert(play.endpoint, answers) as expert:
        stage = Stage(play, folder, redis_url, expert)
        before = {name: os.environ.get(name) for name in stage.environment}
        os.environ.update(stage.environment)
        try:
            yield stage
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _line(post: Post) -> bytes:
    return json.dumps({"id": post.id, "text": post.text}).encode()

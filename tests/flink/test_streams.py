"""A job on streams of a real Redis that fails, is stopped, and goes on with more subtasks."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flink_job.connecting import connection
from flink_job.demo.posts import Post, generate
from flink_job.evaluation import read_decisions
from flink_job.run import Stopped, run
from flink_job.settings import JobSettings
from model_store.ledger import Usage
from model_store.redis_connection import RedisConnection
from operators.core.cascade import Cascade, Outcome
from operators.records import Event
from tests.flink.stopping import stop_when

pytestmark = pytest.mark.flink
Make = Callable[..., JobSettings]
POSTS = list(generate(900, 7))
MIDDLE = 100
BAD = [b"no JSON", b'{"post": 1}', b"\xff\xfe", b'["a"]']


def add(url: str, streams: Sequence[str], posts: Sequence[Post]) -> None:
    """Add posts, by turns, and entries that are none."""
    entries = [json.dumps({"id": p.id, "text": p.text, "expert": p.expert}).encode() for p in posts]
    with closing(RedisConnection(url)) as redis:
        for number, content in enumerate([*entries, *BAD]):
            stream = streams[number % len(streams)]
            redis.call(lambda client, s=stream, c=content: client.xadd(s, {"json": c}))


class FailsOnce:
    """Has a subtask fail in mid-stream, with an event in hand, after a checkpoint there."""

    def __init__(self, patch: pytest.MonkeyPatch, checkpoints: Path) -> None:
        self.before = self.after = 0
        """Events that were decided before the failure, and from then on."""
        self.failed = False
        self._kept: set[Path] | None = None
        self._checkpoints = checkpoints
        decide = Cascade.decide

        def decide_or_fail(cascade: Cascade, shard: str, events: Sequence[Event]) -> Outcome:
            if self.failed:
                self.after += len(events)
            else:
                self._look()
                self.before += len(events)
            return decide(cascade, shard, events)

        patch.setattr(Cascade, "decide", decide_or_fail)

    def _look(self) -> None:
        found = set(self._checkpoints.glob("*/chk-*/_metadata"))
        if self._kept is None and self.before >= MIDDLE:
            self._kept = found
        elif self._kept is not None and found - self._kept:
            self.failed = True
            message = "the machine is gone"
            raise OSError(message)


def test_every_entry_is_decided_exactly_once_over_a_failure_a_stop_and_a_rescale(
    make_job: Make, redis_url: str, tmp_path: Path
) -> None:
    streams = [f"posts-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    source = {"kind": "redis", "streams": streams}
    changes: dict[str, Any] = {
        "sink": {"path": tmp_path / "out"},
        "budget": {"share": 0.2, "burst": 100},
    }
    # Slow enough for the failure, and the stop, to come in the middle.
    slow = source | {"block": 5, "max_lag": 0}
    job = make_job(**changes, source=slow, flink={"checkpoint_interval_s": 0.1})
    add(redis_url, streams, POSTS[:600])
    with pytest.MonkeyPatch.context() as patch:
        failure = FailsOnce(patch, job.sink.path / "checkpoints")
        stop = stop_when(lambda usage: failure.failed and usage.seen >= 2 * MIDDLE)
        first = run(job, "streams", stop)
    assert isinstance(first, Stopped)
    seen = connection(job, "streams").ledger().usage().seen
    assert 2 * MIDDLE <= seen < 600
    # It went on from the middle; what was under way was decided after all.
    assert failure.after < seen <= failure.before + failure.after

    add(redis_url, streams, POSTS[600:])
    more = make_job(**changes, source=source, flink={"parallelism": 2})

    def done(usage: Usage) -> bool:
        return usage.seen >= len(POSTS) and usage.settled == usage.deferred

    second = run(more, "streams", stop_when(done), from_savepoint=first.savepoint)
    assert isinstance(second, Stopped)
    assert connection(more, "streams").ledger().usage().seen == len(POSTS)

    decisions = read_decisions(job.sink.path / "decisions")
    assert Counter(d.id for d in decisions) == Counter(p.id for p in POSTS)
    letters = [
        json.loads(line)
        for path in (job.sink.path / "dead_letters").rglob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    # None of an entry that was lost, and each bad one once.
    assert len(letters) == len({(d["source"], d["line"]) for d in letters}) == 2 * len(BAD)
    assert {d["source"] for d in letters} == set(streams)

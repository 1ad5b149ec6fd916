"""Jobs from topic to topic, with the genuine connector and a real broker."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flink_job.demo.posts import Post, generate
from flink_job.run import Stopped, run
from flink_job.settings import JobSettings
from model_store.ledger import Usage
from tests.flink.stopping import stop_when
from tests.kafka import JARS, Broker

pytestmark = pytest.mark.flink
Make = Callable[..., JobSettings]
POSTS = list(generate(900, 7))
PARTITIONS = 3
TOPICS = {
    "decisions": "decided",
    "dead_letters": "dead",
    "annotations": "annotated",
    "evidence": "audited",
    "releases": "released",
}
BAD = [b"no JSON", b'{"post": 1}', None, b"\xff\xfe", b'["a"]']


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker") as running:
        running.create(PARTITIONS, "posts", *TOPICS.values())
        yield running


@pytest.fixture
def kafka_job(make_job: Make, broker: Broker, tmp_path: Path) -> Make:
    """A job from `posts` to the five topics."""
    secrets = tmp_path / "secrets.properties"
    secrets.write_text("group=cascade\n", encoding="utf-8")

    def make(**changes: Any) -> JobSettings:
        content: dict[str, Any] = {
            "source": {
                "kind": "kafka",
                "bootstrap": broker.bootstrap,
                "topics": ["posts"],
                "group": f"${{file:{secrets}:group}}",  # as a password would be given
                "fields": {"id": "post.id", "text": "post.text", "key": "post.author"},
            },
            "sink": {
                "kind": "kafka",
                "bootstrap": broker.bootstrap,
                "topics": TOPICS,
                "path": tmp_path / "work",
            },
            "expert": {"kind": "recorded", "column": "answer"},
            "budget": {"share": 0.2, "burst": 100},
            "flink": {"jars": JARS, "parallelism": 2, "checkpoint_interval_s": 0.5},
        }
        return make_job(**{**content, **changes})

    return make


def records(posts: list[Post]) -> Iterator[tuple[str, bytes]]:
    for post in posts:
        told = {"id": post.id, "text": post.text, "author": post.author}
        yield post.author, json.dumps({"post": told, "answer": post.expert}).encode()


def objects(broker: Broker, name: str) -> list[dict[str, Any]]:
    return [json.loads(m.value() or b"") for m in broker.read(TOPICS[name], PARTITIONS)]


def test_every_record_is_decided_exactly_once_over_a_stop(kafka_job: Make, broker: Broker) -> None:
    job = kafka_job()
    broker.send("posts", records(POSTS[:600]))
    broker.send("posts", [(None, value) for value in BAD])
    first = run(job, "topics", stop_when(lambda usage: usage.seen >= 300))
    assert isinstance(first, Stopped)
    broker.send("posts", records(POSTS[600:]))

    def done(usage: Usage) -> bool:
        if usage.seen < len(POSTS) or usage.settled < usage.deferred:
            return False
        # What is committed is what was read: others can see how far the job is.
        return sum(broker.offsets("cascade", "posts", PARTITIONS)) == len(POSTS) + len(BAD)

    second = run(job, "topics", stop_when(done), from_savepoint=first.savepoint)
    assert isinstance(second, Stopped)

    decided = broker.read("decided", PARTITIONS)
    decisions = [json.loads(m.value() or b"") for m in decided]
    assert Counter(d["id"] for d in decisions) == Counter(p.id for p in POSTS)
    assert [(m.key() or b"").decode() for m in decided] == [d["key"] for d in decisions]
    assert all(d["time"].endswith("Z") for d in decisions)  # Kafka's, for the posts have none

    dead = objects(broker, "dead_letters")
    assert len(dead) == len(BAD)
    assert all(d["error"] and d["source"].startswith("posts-") for d in dead)
    assert len({(d["source"], d["line"]) for d in dead}) == len(BAD)

    asked = {d["id"] for d in decisions if d["level"] == "expert"}
    annotations = objects(broker, "annotations")
    assert Counter(a["id"] for a in annotations) == Counter(asked)
    expert = {post.id: post.expert for post in POSTS}
    assert all(a["label"] == expert[a["id"]] for a in annotations)
    audited = {d["id"] for d in decisions if d["reason"] == "audit"}
    assert {e["id"] for e in objects(broker, "evidence")} == audited
    assert objects(broker, "releases")

"""The feed, with a broker that speaks Kafka's protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flink_job.relay.feed import FeedError, KafkaFeed, Tail
from flink_job.relay.jetstream import Post
from tests.kafka import Broker

PARTITIONS = 3


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker") as running:
        running.create(PARTITIONS, "posts")
        yield running


def post(number: int) -> Post:
    told = {"id": f"p{number}", "time_us": number}
    return Post(f"p{number}", f"author{number % 5}", json.dumps(told).encode())


def test_what_was_sent_is_there_and_tells_where_to_go_on(broker: Broker) -> None:
    feed = KafkaFeed(broker.bootstrap, "posts", {})
    assert feed.tail() == Tail(None, frozenset())
    assert all(feed.send(post(i)) for i in range(50))
    feed.close()
    found = broker.read("posts", PARTITIONS)
    assert sorted(json.loads(m.value() or b"")["time_us"] for m in found) == list(range(50))
    by_author: dict[bytes, list[int]] = {}
    for message in found:
        by_author.setdefault(message.key() or b"", []).append(message.partition() or 0)
    assert len(by_author) == 5
    assert all(len(set(partitions)) == 1 for partitions in by_author.values())

    broker.send("posts", [(None, b"not from a relay"), (None, None)])
    again = KafkaFeed(broker.bootstrap, "posts", {})
    assert again.tail() == Tail(49, frozenset(f"p{i}" for i in range(50)))


def test_a_topic_that_is_not_there_is_named(broker: Broker) -> None:
    feed = KafkaFeed(broker.bootstrap, "elsewhere", {"allow.auto.create.topics": "false"})
    with pytest.raises(FeedError, match=r"elsewhere.*create it"):
        feed.tail()


def test_a_post_that_is_not_taken_is_told() -> None:
    feed = KafkaFeed("127.0.0.1:1", "posts", {"message.timeout.ms": "50"})
    assert feed.send(post(1))
    with pytest.raises(FeedError, match=r"start the relay again"):
        feed.close()
    with pytest.raises(FeedError):
        feed.send(post(2))

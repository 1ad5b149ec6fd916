"""The reader as Flink drives it, with state and timers in memory, on a real Redis."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flink_job.sources.entry_ids import BEFORE_ALL
from flink_job.sources.parsing import shard_of
from flink_job.sources.stream_reader import StreamReader
from model_store.embedded import EmbeddedRedis
from model_store.redis_connection import RedisConnection
from operators.flink.connection import StoreConnection
from operators.flink.types import DEAD_LETTERS, TICK
from operators.records import DeadLetter, Event, unpack
from tests.flink_job.sources.fakes import (
    EagerLedger,
    FakeConnection,
    FakeContext,
    FakeState,
    FakeTimers,
)
from tests.flink_job.sources.streams import SHARDS, Producer, job_on

pytestmark = pytest.mark.redis
CHUNK_MS = 50


class Driver:
    """Runs a reader, which may be made anew from its state, and gathers what it emits."""

    def __init__(self, url: str, streams: Sequence[str], **source: Any) -> None:
        self.state, self.ledger = FakeState(), EagerLedger()
        self._url, self._streams, self._source = url, streams, source
        self.timers = FakeTimers()
        self.start()

    def start(self, *streams: str) -> None:
        """Start the reader, as after a failure; timers that were set may survive that."""
        job = job_on(streams or self._streams, **{"chunk_ms": CHUNK_MS, **self._source})
        at = StoreConnection("t", "r", self._url, "NOWHERE", "n", 2, 1.0)
        beginnings = dict.fromkeys(job.source.streams, BEFORE_ALL)  # type: ignore[union-attr]  # streams
        store = FakeConnection(self.ledger)
        self.reader = StreamReader(job, store, at, beginnings)  # type: ignore[arg-type]  # a fake
        self.reader.open(FakeContext(self.state))

    def tick(self) -> None:
        """What wakes a reader that has no timer."""
        records = list(self.reader.process_element(0, self.timers))
        assert records == [(shard, TICK) for shard in range(SHARDS)]

    def fire(self) -> tuple[list[Event], list[DeadLetter]]:
        """Let the next timer fire."""
        events: list[Event] = []
        dead: list[DeadLetter] = []
        for tag, data in self.reader.on_timer(self.timers.pop(), self.timers):
            if tag is DEAD_LETTERS:
                lines = data.splitlines()
                dead += [msgspec.json.decode(line, type=DeadLetter) for line in lines]
            else:
                chunk = unpack(data, Event)
                assert {shard_of(event.key, SHARDS) for event in chunk} == {tag}
                events += chunk
        return events, dead

    def read(self) -> list[int]:
        """Ids of the events that the next timer brings, where nothing is dead."""
        events, dead = self.fire()
        assert not dead
        return sorted(int(event.id) for event in events)

    @property
    def wait_ms(self) -> int:
        return self.timers.due[0] - self.timers.now_ms


@pytest.fixture
def producer(redis_url: str) -> Iterator[Producer]:
    with closing(RedisConnection(redis_url)) as redis:
        yield Producer(redis)


def events(*ids: int) -> list[dict[str, Any]]:
    return [{"id": n, "text": f"text {n}"} for n in ids]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(
            st.sampled_from(["fire", "tick", "checkpoint", "crash"]),
            st.tuples(st.integers(0, 1), st.integers(1, 6)),
        ),
        max_size=30,
    ),
    block=st.integers(1, 5),
    timers_survive=st.booleans(),
)
def test_each_entry_is_decided_once_over_crashes(
    redis_url: str, producer: Producer, steps: list[Any], block: int, timers_survive: bool
) -> None:
    names = [uuid.uuid4().hex for _ in range(2)]
    driver = Driver(redis_url, names, block=block)
    written, pending = 0, list[int]()
    committed: list[int] = []
    kept: bytes | None = None
    for step in [*steps, "tick", *["fire"] * 40, "checkpoint"]:
        if step == "fire":
            pending += driver.read() if driver.timers.due else []
            assert len(driver.timers.due) <= 2  # one more may have survived a crash
        elif step == "tick":
            driver.timers.now_ms += 1000
            driver.tick()
        elif step == "checkpoint":
            committed, pending, kept = committed + pending, [], driver.state.kept
        elif step == "crash":
            pending, driver.state.kept = [], kept
            if not timers_survive:
                driver.timers.due.clear()
            driver.start()
            driver.tick()
        else:
            which, many = step
            producer.add(names[which], *events(*range(written, written + many)))
            written += many
    assert sorted(committed) == list(range(written))


def test_entries_come_when_a_timer_is_due(
    redis_url: str, producer: Producer, namespace: str
) -> None:
    driver = Driver(redis_url, [namespace], block=3)
    driver.tick()
    assert (driver.read(), driver.wait_ms) == ([], CHUNK_MS)
    driver.tick()
    assert len(driver.timers.due) == 1
    producer.add(namespace, *events(1, 2, 3, 4))
    assert (driver.read(), driver.wait_ms) == ([1, 2, 3], 1)  # there is more
    assert (driver.read(), driver.wait_ms) == ([4], CHUNK_MS)


def test_a_timer_that_did_not_survive_is_set_again(redis_url: str, namespace: str) -> None:
    driver = Driver(redis_url, [namespace])
    driver.tick()
    driver.timers.due.clear()
    driver.timers.now_ms += 1001
    driver.tick()
    assert driver.timers.due == [driver.timers.now_ms]


def test_a_stream_that_is_new_to_a_job_begins_where_it_should(
    redis_url: str, producer: Producer, namespace: str
) -> None:
    one, other = f"{namespace}-1", f"{namespace}-2"
    producer.add(one, *events(1))
    producer.add(other, *events(2))
    driver = Driver(redis_url, [one])
    driver.tick()
    assert driver.read() == [1]
    driver.start(one, other)
    driver.fire()  # a timer from before
    driver.tick()
    assert driver.read() == [2]
    driver.start(other)
    driver.start(one)  # what was read of it is remembered
    driver.fire()
    driver.tick()
    assert driver.read() == []


def test_bad_entries_and_lost_ones_are_dead_letters(
    redis_url: str, producer: Producer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    driver = Driver(redis_url, [namespace])
    driver.tick()
    good, bad = producer.add(namespace, {"id": 1, "text": "x"}, b"[]")
    found, dead = driver.fire()
    assert [event.id for event in found] == ["1"]
    assert [(letter.source, letter.line) for letter in dead] == [(namespace, bad)]
    producer.add(namespace, *events(2, 3, 4))
    producer.do("XTRIM", namespace, "MAXLEN", 1)
    with caplog.at_level(logging.WARNING):
        found, (lost,) = driver.fire()
    assert [event.id for event in found] == ["4"]
    assert (lost.source, lost.line, lost.raw) == (namespace, bad, "")
    assert "removed before they were read" in lost.error
    assert lost.error in caplog.text
    assert good not in caplog.text
    assert driver.fire() == ([], [])


def test_what_is_no_stream_any_more_holds_up_no_other(
    redis_url: str, producer: Producer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = f"{namespace}-1", f"{namespace}-2"
    producer.do("SET", one, "x")
    producer.add(other, *events(1))
    driver = Driver(redis_url, [one, other])
    driver.tick()
    assert driver.read() == [1]
    assert driver.read() == []
    assert caplog.text.count("is a string in Redis, and no stream") == 1
    producer.do("DEL", one)
    producer.add(one, *events(2))
    assert driver.read() == [2]


def test_a_redis_that_is_away_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddedRedis(tmp_path) as server:
        driver = Driver(server.url, ["posts"])
        with closing(RedisConnection(server.url)) as redis:
            Producer(redis).add("posts", *events(1))
        driver.tick()
        assert driver.read() == [1]
        before = driver.state.kept
        password = server.url.split("@")[0].rsplit(":", 1)[1]
    for _ in range(2):
        assert (driver.read(), driver.wait_ms) == ([], 1000)
    assert driver.state.kept == before
    assert caplog.text.count("posts is waited for: Redis at redis://127.0.0.1") == 1
    assert password not in caplog.text


def test_what_was_added_meanwhile_is_read_when_redis_answers_again(
    redis_url: str, producer: Producer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    user = ["ACL", "SETUSER", namespace]
    producer.do(*user, "on", ">hunter2", "+@all", "~*")
    try:
        driver = Driver(f"redis://{namespace}:hunter2@{redis_url.rsplit('@', 1)[1]}", [namespace])
        driver.tick()
        producer.add(namespace, *events(1))
        assert driver.read() == [1]
        producer.do(*user, "resetkeys")
        producer.add(namespace, *events(2, 3))
        assert (driver.read(), driver.read()) == ([], [])
        producer.do(*user, "~*")
        assert (driver.read(), driver.wait_ms) == ([2, 3], CHUNK_MS)
    finally:
        producer.do("ACL", "DELUSER", namespace)
    assert caplog.text.count("is waited for") == caplog.text.count("can be read again") == 1


def test_a_backlog_waits_for_learning_where_it_is_told_to(
    redis_url: str, producer: Producer, namespace: str
) -> None:
    producer.add(namespace, *events(1))
    keeps_up = [False, True]
    driver = Driver(redis_url, [namespace], max_lag=5)
    driver.ledger = EagerLedger(lambda: keeps_up.pop(0))
    driver.start()
    driver.tick()
    assert [driver.read(), driver.read()] == [[], [1]]


def test_state_is_small_and_plain(redis_url: str, producer: Producer, namespace: str) -> None:
    driver = Driver(redis_url, [namespace])
    entries = producer.add(namespace, *events(*range(9)))
    driver.tick()
    driver.fire()
    assert driver.state.kept is not None
    content = msgspec.msgpack.decode(driver.state.kept)
    added = content["streams"][namespace].pop("added")
    assert added in (None, 9)  # as of Redis 7
    standing = {"last": entries[-1], "reading": True, "trouble": None}
    assert content == {"version": 1, "streams": {namespace: standing}}

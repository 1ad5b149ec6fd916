from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flink_job.settings import SettingsError
from flink_job.source_settings import RedisSourceSettings
from flink_job.sources.entry_ids import BEFORE_ALL
from flink_job.sources.redis_streams import RedisStreams, read_look
from model_store.errors import StoreUnavailable
from model_store.redis_connection import RedisConnection
from tests.flink_job.sources.streams import Producer, job_on

pytestmark = pytest.mark.redis
RULES = Path(__file__).parents[3] / "docker/README.md"


@pytest.fixture
def producer(redis_url: str) -> Iterator[Producer]:
    with closing(RedisConnection(redis_url)) as redis:
        yield Producer(redis)


def streams_of(producer: Producer, *names: str, **source: Any) -> RedisStreams:
    settings = job_on(names, **source).source
    assert isinstance(settings, RedisSourceSettings)
    return RedisStreams(producer.redis, settings)


def test_a_look_finds_what_is_behind_an_entry_and_how_the_stream_stands(
    producer: Producer, namespace: str
) -> None:
    streams = streams_of(producer, namespace)
    assert streams.look(namespace, BEFORE_ALL, 5) is None
    ids = producer.add(namespace, *[b"%d" % n for n in range(6)])
    look = streams.look(namespace, BEFORE_ALL, 2)
    assert look is not None
    assert (look.ids, look.contents) == (ids[:2], [b"0", b"1"])
    assert (look.first, look.last, look.newest, look.length) == (ids[0], ids[5], ids[5], 6)
    assert look.added in (None, 6)  # as of Redis 7
    producer.do("XTRIM", namespace, "MAXLEN", 3)
    producer.do("XDEL", namespace, ids[5])
    look = streams.look(namespace, ids[1], 9)
    assert look is not None
    assert (look.ids, look.contents) == (ids[3:5], [b"3", b"4"])
    assert (look.first, look.last, look.newest, look.length) == (ids[3], ids[4], ids[5], 2)
    producer.do("XTRIM", namespace, "MAXLEN", 0)
    look = streams.look(namespace, ids[1], 9)
    assert look is not None
    assert (look.ids, look.first, look.last, look.newest) == ([], None, None, ids[5])


def test_a_look_is_the_same_whatever_the_client_is_told(
    redis_url: str, producer: Producer, namespace: str
) -> None:
    producer.add(namespace, b"\xff")
    for options in ("decode_responses=yes", "encoding=latin-1"):
        with closing(RedisConnection(f"{redis_url}?{options}")) as redis:
            look = streams_of(Producer(redis), namespace).look(namespace, BEFORE_ALL, 5)
            assert look is not None
            assert look.contents == [b"\xff"]


def test_the_field_is_found_among_others(producer: Producer, namespace: str) -> None:
    streams = streams_of(producer, namespace, json_field="b")
    producer.do("XADD", namespace, "5-1", "a", "1", "b", "2", "c", "3")
    producer.do("XADD", namespace, "5-2", "a", "1")
    look = streams.look(namespace, BEFORE_ALL, 5)
    assert look is not None
    assert (look.ids, look.contents) == (["5-1", "5-2"], [b"2", None])


def test_where_a_job_begins(producer: Producer, namespace: str) -> None:
    producer.add(namespace, b"", entry="5-1")
    nowhere = f"{namespace}-none"
    for start, behind in (
        ("earliest", BEFORE_ALL),
        ("latest", "5-1"),
        (datetime(2026, 1, 31, tzinfo=UTC), f"1769817599999-{2**64 - 1}"),
    ):
        found = streams_of(producer, namespace, nowhere, start=start).beginnings()
        empty = behind if isinstance(start, datetime) else BEFORE_ALL
        assert found == {namespace: behind, nowhere: empty}


def test_what_is_no_stream_is_said_to_be_none(producer: Producer, namespace: str) -> None:
    producer.do("SET", namespace, "x")
    with pytest.raises(SettingsError, match=f"'{namespace}' is a string in Redis, and no stream"):
        streams_of(producer, namespace).beginnings()


def test_events_have_the_entrys_place_and_time(producer: Producer, namespace: str) -> None:
    job = job_on([namespace], fields={"id": None, "text": "post.text", "key": "author"})
    entry = "1769903999123-7"
    producer.add(namespace, {"post": {"text": "x"}, "author": "k"}, entry=entry)
    source = job.source
    assert isinstance(source, RedisSourceSettings)
    look = RedisStreams(producer.redis, source).look(namespace, BEFORE_ALL, 5)
    assert look is not None
    ((event,),) = read_look(job, source, namespace, look).chunks.values()
    assert (event.id, event.key, event.text) == (f"{namespace}:{entry}", "k", "x")
    assert event.time == "2026-01-31T23:59:59.123Z"


def test_what_is_no_event_is_a_dead_letter_with_its_entry(
    producer: Producer, namespace: str
) -> None:
    job = job_on([namespace])
    source = job.source
    assert isinstance(source, RedisSourceSettings)
    ids = producer.add(namespace, b"no JSON", b"[]", {"id": 1})
    ids += [producer.do("XADD", namespace, "*", "text", "x").decode()]
    look = RedisStreams(producer.redis, source).look(namespace, BEFORE_ALL, 5)
    assert look is not None
    block = read_look(job, source, namespace, look)
    assert not block.chunks
    assert [(letter.source, letter.line) for letter in block.dead] == [(namespace, i) for i in ids]
    for letter, error in zip(
        block.dead, ("no JSON", "JSON object", "text: is missing", "no field 'json'"), strict=True
    ):
        assert error in letter.error


def test_the_documented_rules_are_enough(
    redis_url: str, producer: Producer, namespace: str
) -> None:
    """The rules that `docker/README.md` names beside those of the store."""
    rules = [part for part in RULES.read_text(encoding="utf-8").split("`") if "+xrange" in part]
    (rule,) = rules
    words = rule.replace("posts", namespace).split()
    user, password = f"{namespace}-reader", "hunter2"
    base = ["reset", "on", f">{password}", "+ping", "+evalsha", "+script|load"]
    producer.add(namespace, b"x")
    url = f"redis://{user}:{password}@{redis_url.rsplit('@', 1)[1]}"
    try:
        for left_out in [None, *words]:
            left = [word for word in words if word != left_out]
            producer.do("ACL", "SETUSER", user, *base, *left)
            with closing(RedisConnection(url, retries=0)) as redis:
                streams = streams_of(Producer(redis), namespace)
                if left_out is None:
                    assert streams.look(namespace, BEFORE_ALL, 1) is not None
                else:
                    with pytest.raises(StoreUnavailable, match="the user's ACL") as refused:
                        streams.look(namespace, BEFORE_ALL, 1)
                    assert password not in str(refused.value)
    finally:
        producer.do("ACL", "DELUSER", user)

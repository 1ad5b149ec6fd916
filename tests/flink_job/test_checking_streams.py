"""What `check` finds of a source of streams, on a real Redis."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flink_job import checking
from flink_job.checking import Finding, check_job
from flink_job.settings import JobSettings
from model_store.redis_connection import RedisConnection
from tests.flink_job.sources.streams import Producer, job_on

URL_ENV = "TEST_CASCADE_STREAMS_URL"


@pytest.fixture
def producer(redis_url: str) -> Iterator[Producer]:
    with closing(RedisConnection(redis_url)) as redis:
        yield Producer(redis)


@pytest.fixture(autouse=True)
def java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "ensure_java", lambda: None)


def source_in(tmp_path: Path, job: JobSettings, **store: Any) -> Finding:
    changed = job.model_dump() | {"sink": {"path": tmp_path / "out"}, "store": store}
    found = check_job(JobSettings.model_validate(changed))
    return next(finding for finding in found if finding.what == "source")


@pytest.mark.redis
def test_streams_of_an_embedded_redis_are_still_to_come(tmp_path: Path) -> None:
    found = source_in(tmp_path, job_on(["a", "b"]))
    assert found == Finding("source", True, "a, b, in the embedded Redis of the run")


@pytest.mark.redis
def test_streams_are_counted_and_looked_into(
    tmp_path: Path,
    producer: Producer,
    namespace: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(URL_ENV, redis_url)
    entries = producer.add(namespace, {"id": 1, "text": "x"}, {"id": 2, "txt": "y"}, b"")
    own = job_on([namespace], url_env=URL_ENV)
    assert source_in(tmp_path, own) == Finding(
        "source",
        True,
        f"{namespace}: 3 entries",
        "2 of the first 100 entries of a stream are no events: "
        f"{namespace}, {entries[1]}: text: is missing",
    )
    # Nothing was read in the sense of a job: it finds the same again, in the store's Redis too.
    missing = job_on([namespace, "nowhere"], fields={"text": "id"})
    found = source_in(tmp_path, missing, kind="redis", url_env=URL_ENV)
    assert found.good
    assert found.detail == f"{namespace}: 3 entries; nowhere: 0 entries"
    assert found.warning is not None
    assert "there is no stream 'nowhere' yet; it is waited for; 1 of the first" in found.warning


@pytest.mark.redis
def test_what_is_no_stream_is_no_good(
    tmp_path: Path,
    producer: Producer,
    namespace: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(URL_ENV, redis_url)
    producer.do("HSET", namespace, "a", "b")
    found = source_in(tmp_path, job_on([namespace], url_env=URL_ENV))
    assert not found.good
    assert "is a hash in Redis, and no stream. Operator action" in found.detail


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"url_env": URL_ENV}, f"source.url_env: the environment variable {URL_ENV} is not set"),
        ({}, f"store.url: not given, and the environment variable {URL_ENV} is not set"),
        ({"url": "redis://127.0.0.1:1"}, "Redis at redis://127.0.0.1:1 is unavailable"),
        ({"url": "http://h"}, "The URL of Redis .* cannot be used"),
    ],
)
def test_a_redis_that_is_not_to_be_found(tmp_path: Path, source: dict[str, Any], said: str) -> None:
    found = source_in(tmp_path, job_on(["a"], **source), kind="redis", url_env=URL_ENV)
    assert not found.good
    assert re.search(said, found.detail)

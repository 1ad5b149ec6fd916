"""A source of streams, and addresses of Redis, as they are written in the YAML."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flink_job.settings import JobSettings, SettingsError, load_job
from flink_job.source_settings import RedisSourceSettings

Write = Callable[[Any], Path]
Content = dict[str, Any]
URL_ENV = "TEST_CASCADE_STREAMS_URL"


@pytest.fixture
def streams(content: Content) -> Content:
    content["source"] = {"kind": "redis", "streams": ["posts"]}
    content["budget"] = {"share": 0.1}
    return content


def source_of(job: JobSettings) -> RedisSourceSettings:
    assert isinstance(job.source, RedisSourceSettings)
    return job.source


def test_the_streams_are_in_the_store_unless_an_address_is_given(
    streams: Content, write_job: Write
) -> None:
    job = load_job(write_job(streams))
    assert job.embedded_streams == ("posts",)
    assert job.endless
    assert source_of(job).start == "earliest"
    assert JobSettings.model_validate(job.model_dump()) == job
    streams["store"] = {"kind": "redis", "url": "redis://h"}
    assert load_job(write_job(streams)).embedded_streams == ()
    streams["store"] = {}
    streams["source"]["url"] = "redis://h"
    assert load_job(write_job(streams)).embedded_streams == ()


def test_a_stream_has_no_end(streams: Content, write_job: Write) -> None:
    job = load_job(write_job(streams))
    with pytest.raises(SettingsError, match="files are needed here"):
        _ = job.files
    streams["budget"] = {"calls": 5}
    with pytest.raises(SettingsError, match="a stream, or a topic, has no end"):
        load_job(write_job(streams))


def test_a_job_may_begin_at_a_time(streams: Content, write_job: Write) -> None:
    streams["source"]["start"] = "2026-01-31T12:00:00Z"
    job = load_job(write_job(streams))
    assert source_of(job).start == datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"streams": []}, "source.streams: "),
        ({"streams": None}, "source.streams: "),
        ({"streams": [""]}, "source.streams.0: "),
        ({"streams": ["a", "b", "a"]}, "names one of them twice"),
        ({"start": "yesterday"}, "source.start"),
        ({"url": "redis://h", "url_env": "X"}, "two addresses; give one of them"),
        ({"url": "redis://[h"}, "source.url: can not be read as a URL"),
        ({"url_env": "not a name"}, "source.url_env: "),
        ({"json_field": ""}, "source.json_field: "),
        ({"block": 0}, "source.block: "),
        ({"chunk_ms": 0}, "source.chunk_ms: "),
        ({"max_lag": -1}, "source.max_lag: "),
        ({"group": "g"}, "source.group: there is no such setting"),
    ],
)
def test_what_can_not_work_is_refused_where_it_stands(
    streams: Content, write_job: Write, change: Content, said: str
) -> None:
    streams["source"] |= change
    with pytest.raises(SettingsError, match=r"\n  .*" + said):
        load_job(write_job(streams))


@pytest.mark.parametrize("section", ["source", "store"])
@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@localhost:6379/0",
        "rediss://user:hunter2@host",
        "redis://localhost/0?password=hunter2",
        "redis://localhost?db=1&password=hunter2",
        "redis://:/hunter2@localhost",
        "redis://user#hunter2@localhost",
        "redis://user:hunter2[@localhost",
        "unix://user:hunter2@/run/redis.sock",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(
    streams: Content, write_job: Write, url: str, section: str
) -> None:
    streams["store"] = {"kind": "redis"}
    streams[section]["url"] = url
    with pytest.raises(SettingsError) as caught:
        load_job(write_job(streams))
    assert f"\n  {section}.url: " in str(caught.value)
    assert "name that under `url_env`" in str(caught.value) or "[" in url
    assert "hunter2" not in str(caught.value)


def test_an_address_that_is_nowhere_is_missed_before_the_job_starts(
    streams: Content, write_job: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load_job(write_job(streams)).resolve_source()
    streams["source"]["url_env"] = URL_ENV
    job = load_job(write_job(streams))
    with pytest.raises(SettingsError, match=f"source.url_env: .*{URL_ENV} is not set. Operator"):
        job.resolve_source()
    monkeypatch.setenv(f"{URL_ENV}_FILE", str(tmp_path / "nothing"))
    with pytest.raises(SettingsError, match=r"source.url_env: .*can not be read"):
        job.resolve_source()
    monkeypatch.setenv(URL_ENV, "redis://h")
    job.resolve_source()

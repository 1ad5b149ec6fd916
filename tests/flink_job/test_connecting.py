from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flink_job.connecting import begin_counts, connection, require_key, running_store, was_begun
from flink_job.settings import JobSettings, SettingsError
from model_store.errors import StoreMisconfigured, StoreUnavailable

Make = Callable[..., JobSettings]
URL_ENV = "TEST_CASCADE_REDIS_URL"
KEY_ENV = "TEST_CASCADE_KEY"


def test_a_connection_carries_no_secret(make_job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL_ENV, "redis://:hunter2@127.0.0.1:1")
    link = connection(make_job(store={"kind": "redis", "url_env": URL_ENV}), "run1")
    assert (link.task, link.run, link.url, link.url_env) == ("moderation", "run1", None, URL_ENV)
    assert "hunter2" not in repr(link)
    assert b"hunter2" not in pickle.dumps(link)
    with pytest.raises(StoreUnavailable) as caught:
        link.store().head("moderation")
    assert "hunter2" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)


def test_a_worker_without_the_variable_says_which(make_job: Make) -> None:
    link = connection(make_job(store={"kind": "redis", "url_env": URL_ENV}), "run1")
    for opened in (link.store, link.ledger):
        with pytest.raises(StoreMisconfigured, match=f"{URL_ENV} is not set on this worker"):
            opened()


@pytest.mark.redis
def test_an_embedded_store_lives_as_long_as_the_run(make_job: Make) -> None:
    before = dict(os.environ)
    job = make_job(store={"url_env": URL_ENV})
    with running_store(job, "run1") as link:
        assert (link.run, link.url) == ("run1", None)
        url = os.environ[link.url_env]
        assert url.startswith("redis://:")
        assert link.store().head("moderation") is None
        assert link.ledger().usage().seen == 0
    assert dict(os.environ) == before
    with pytest.raises(StoreUnavailable):
        replace(link, url=url).store().head("moderation")


@pytest.mark.redis
def test_a_job_that_fails_leaves_no_address_behind(make_job: Make) -> None:
    before = dict(os.environ)
    with pytest.raises(RuntimeError, match="the job failed"), running_store(make_job(), "run1"):
        raise RuntimeError("the job failed")
    assert dict(os.environ) == before


@pytest.mark.redis
def test_two_embedded_stores_are_two(make_job: Make) -> None:
    with running_store(make_job(), "a") as first, running_store(make_job(), "b") as second:
        first.ledger().progress("shard", seen=3, deferred=0)
        assert second.ledger().usage().seen == 0
        assert os.environ[first.url_env] != os.environ[second.url_env]


def test_a_configured_store_is_neither_started_nor_reached(
    make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(store={"kind": "redis", "url_env": URL_ENV})
    with pytest.raises(SettingsError, match=f"{URL_ENV} is not set"), running_store(job, "run1"):
        pass
    monkeypatch.setenv(URL_ENV, "redis://127.0.0.1:1")
    with running_store(job, "run1") as link:
        assert link == connection(job, "run1")


def test_a_recorded_expert_needs_no_key(make_job: Make) -> None:
    require_key(make_job())


@pytest.mark.parametrize("key", [None, "", "  "])
def test_a_key_that_is_not_there(
    make_job: Make, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    job = with_llm(make_job())
    if key is not None:
        monkeypatch.setenv(KEY_ENV, key)
    with pytest.raises(SettingsError, match=f"{KEY_ENV} is not set. Operator action: export it"):
        require_key(job)
    monkeypatch.setenv(KEY_ENV, "any")
    require_key(job)


def with_llm(job: JobSettings) -> JobSettings:
    expert = {"kind": "openai", "model": "m", "api_key_env": KEY_ENV}
    return JobSettings.model_validate(job.model_dump() | {"expert": expert})


@pytest.mark.redis
def test_nothing_is_left_in_the_temporary_folder(
    make_job: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with running_store(make_job(), "run1"):
        assert list(folder.iterdir())
    assert not list(folder.iterdir())


@pytest.mark.redis
def test_a_run_that_began_is_known_before_its_first_event(make_job: Make) -> None:
    with running_store(make_job(store={"url_env": URL_ENV}), "r") as link:
        assert not was_begun(link)
        with pytest.raises(SettingsError, match="knows nothing of a run 'r'"):
            begin_counts(link, go_on=True)
        begin_counts(link, go_on=False)
        assert was_begun(link)
        link.ledger().progress("0", seen=1, deferred=0)
        begin_counts(link, go_on=True)
        assert link.ledger().usage().seen == 1

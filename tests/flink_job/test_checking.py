from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flink_job import checking, connecting
from flink_job.checking import Finding, check_job
from flink_job.settings import JobSettings, SettingsError
from operators.settings import EncoderSettings, LinearSettings

Make = Callable[..., JobSettings]
URL_ENV = "TEST_CASCADE_REDIS_URL"
KEY_ENV = "TEST_CASCADE_KEY"
LLM = {"kind": "openai", "model": "m", "base_url": "http://llm/v1", "api_key_env": KEY_ENV}


@pytest.fixture(autouse=True)
def java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "ensure_java", lambda: None)


def findings(job: JobSettings, **expert: Any) -> dict[str, Finding]:
    if expert:
        job = JobSettings.model_validate(job.model_dump() | {"expert": expert})
    return {finding.what: finding for finding in check_job(job)}


@pytest.mark.redis
def test_a_job_that_can_start(posts: Path, make_job: Make) -> None:
    found = findings(make_job(store={"url_env": URL_ENV}))
    assert all(finding.good for finding in found.values())
    assert list(found) == ["source", "sink", "expert", "store", "java"]
    assert not any(finding.warning for finding in found.values())
    assert found["source"].detail == "300 events, 1 dead letters, 0 without a recorded answer"
    assert found["expert"].detail == "recorded answers in column 'expert'"
    assert found["store"].detail == "embedded, head release none yet"


@pytest.mark.parametrize(
    ("budget", "good", "detail"),
    [
        ({"per_hour": 30}, True, "room for 30 calls in 60 min, at their most"),
        ({"tokens_per_minute": 100_000}, True, r"room for \d\d\d calls in 1 min"),
        ({"tokens_per_minute": 100}, False, r"draws up to \d{3} of 100.*raise the budget"),
    ],
)
def test_a_budget_by_the_clock_has_room_for_a_call(
    make_job: Make, budget: dict[str, int], good: bool, detail: str
) -> None:
    content = make_job(store={"kind": "redis", "url_env": URL_ENV}).model_dump()
    job = JobSettings.model_validate(content | {"expert": LLM, "budget": budget})
    finding = findings(job)["budget"]
    assert finding.good == good
    assert re.search(detail, finding.detail)


@pytest.mark.redis
def test_each_thing_is_looked_at_whatever_is_wrong_with_the_others(
    make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> None:
        raise SettingsError("no Java here")

    monkeypatch.setattr(checking, "ensure_java", none)
    found = findings(make_job(store={"kind": "redis", "url_env": URL_ENV}), **LLM)
    assert {name for name, finding in found.items() if finding.good} == {"sink"}
    assert "there is no file or folder" in found["source"].detail
    assert f"{KEY_ENV} is not set" in found["expert"].detail
    assert f"{URL_ENV} is not set" in found["store"].detail
    assert found["java"].detail == "no Java here"


def test_a_source_without_an_event_is_no_good(tmp_path: Path, make_job: Make) -> None:
    (tmp_path / "posts.jsonl").write_text("broken\n")
    source = findings(make_job(store={"kind": "redis", "url_env": URL_ENV}))["source"]
    assert not source.good
    assert source.detail.startswith("0 events, 1 dead letters")


def test_missing_answers_are_counted(tmp_path: Path, make_job: Make) -> None:
    (tmp_path / "posts.csv").write_text("id,text,author,expert\n1,a,b,ok\n2,c,d,\n")
    source = {"path": "posts.csv", "fields": {"key": "author"}}
    job = make_job(source=source, store={"kind": "redis", "url_env": URL_ENV})
    assert "2 events, 0 dead letters, 1 without" in findings(job)["source"].detail


def test_a_watched_folder_need_not_hold_anything(tmp_path: Path, make_job: Make) -> None:
    job = make_job(
        source={"path": ".", "watch": True},
        budget={"calls": None, "share": 0.1},
        store={"kind": "redis", "url_env": URL_ENV},
    )
    assert findings(job)["source"] == Finding("source", True, f"watching {tmp_path}, 0 files now")


@pytest.mark.redis
def test_no_secret_is_shown(
    posts: Path, make_job: Make, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = redis_url.split("@")[0].rsplit(":", 1)[1]
    monkeypatch.setenv(KEY_ENV, "sk-hunter2")
    wrong = redis_url.replace(password, "wrong-password")
    for url, good in ((redis_url, True), (wrong, False)):
        monkeypatch.setenv(URL_ENV, url)
        found = findings(make_job(store={"kind": "redis", "url_env": URL_ENV}), **LLM)
        assert found["store"].good is good
        assert found["expert"] == Finding("expert", True, f"m at http://llm/v1, key in {KEY_ENV}")
        shown = repr(found)
        assert "hunter2" not in shown
        assert password not in shown
        assert "wrong-password" not in shown


def test_an_encoder_is_fetched_and_exported_beforehand(
    make_job: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted: list[str] = []

    def with_encoder(model: str) -> Finding:
        levels = (LinearSettings(), EncoderSettings(kind="encoder", model=model))
        job = make_job(store={"url_env": URL_ENV}).model_copy(update={"levels": levels})
        return findings(job)["encoders"]

    def prepare(job: JobSettings) -> None:
        wanted.extend(level.name for level in job.levels)

    monkeypatch.setattr(connecting, "prepare_levels", prepare)
    assert with_encoder("of/the-hub").good
    assert wanted == ["linear", "encoder"]
    monkeypatch.undo()
    found = with_encoder(str(tmp_path))
    assert not found.good
    assert "lacks config.json" in found.detail
    assert "Operator action" in found.detail


@pytest.mark.parametrize("watch", [False, True])
def test_a_gold_label_that_is_nowhere_is_a_warning(
    posts: Path, make_job: Make, watch: bool
) -> None:
    job = make_job(store={"kind": "redis", "url_env": URL_ENV})
    fields = {"label": "lable"}
    path = posts.parent if watch else posts
    budget = {"share": 0.1}
    source = {"path": path, "watch": watch, "fields": fields}
    job = JobSettings.model_validate(job.model_dump() | {"source": source, "budget": budget})
    found = findings(job)["source"]
    assert found.good
    assert found.warning is not None
    assert "300 of 300 events have no gold label in 'lable'" in found.warning


def test_a_sink_that_holds_a_run_is_no_good(posts: Path, make_job: Make) -> None:
    job = make_job(store={"kind": "redis", "url_env": URL_ENV})
    (job.sink.path / "decisions").mkdir(parents=True)
    sink = findings(job)["sink"]
    assert not sink.good
    assert "holds an earlier run" in sink.detail

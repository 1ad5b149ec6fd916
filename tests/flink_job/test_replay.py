from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from flink_job.connecting import connection
from flink_job.demo.posts import generate
from flink_job.evaluation import read_decisions
from flink_job.outcome import Outcome
from flink_job.replay import replay, run_replay
from flink_job.settings import JobSettings, SettingsError
from model_store.redis_backend import RedisBackend
from model_store.store import ModelStore
from operators.assembly import build_trainer
from operators.levels.features import NgramHasher
from operators.records import Annotation, Decision, Reason
from tests.flink_job.conftest import CALLS, POSTS
from tests.flink_job.llm import KEY, KEY_ENV, endpoint, expert
from tests.operators.fakes import failing_on

Make = Callable[..., JobSettings]
URL_ENV = "TEST_CASCADE_REDIS_URL"


def run(job: JobSettings) -> tuple[Outcome, list[Decision]]:
    outcome = run_replay(job)
    return outcome, read_decisions(job.sink.path / "decisions")


def asking(job: JobSettings, base_url: str, **changes: Any) -> JobSettings:
    """The job, with an LLM as its expert."""
    return JobSettings.model_validate(job.model_dump() | {"expert": expert(base_url, **changes)})


def test_each_event_gets_one_decision_within_the_budget(posts: Path, make_job: Make) -> None:
    job = make_job()
    outcome, decisions = run(job)
    evaluation = outcome.evaluation
    assert evaluation.delivery.complete
    assert Counter(decision.id for decision in decisions) == {
        f"0-{number:07d}": 1 for number in range(POSTS)
    }
    assert 0.95 * CALLS <= evaluation.calls <= CALLS
    assert sum(decision.calls for decision in decisions) == evaluation.calls
    assert evaluation.releases
    (letter,) = (job.sink.path / "dead_letters" / "part-0.jsonl").read_text().splitlines()
    assert json.loads(letter)["line"] == POSTS + 1
    assert evaluation.dead_letters == 1


def test_a_replay_repeats_itself_and_another_seed_does_not(posts: Path, make_job: Make) -> None:
    job = make_job().for_stream_of(POSTS)
    first, again = replay(job, POSTS + 1), replay(job, POSTS + 1)
    assert [unreleased(d) for d in first.decisions] == [unreleased(d) for d in again.decisions]
    assert first.usage == again.usage
    other = replay(job.model_copy(update={"seed": 1}), POSTS + 1)
    assert [unreleased(d) for d in other.decisions] != [unreleased(d) for d in first.decisions]


def unreleased(decision: Decision) -> dict[str, Any]:
    """A decision without its release's name, which holds the time."""
    content = {name: getattr(decision, name) for name in Decision.__struct_fields__}
    return content | {"release": content["release"] is not None}


def test_events_of_a_key_are_decided_in_order(posts: Path, make_job: Make) -> None:
    job = make_job(source={"block": 7}, budget={"calls": 0}).for_stream_of(POSTS)
    by_key: dict[str, list[str]] = {}
    for decision in replay(job, POSTS + 1).decisions:
        by_key.setdefault(decision.key, []).append(decision.id)
    assert len(by_key) > 10
    assert all(ids == sorted(ids) for ids in by_key.values())


def test_without_a_call_all_is_degraded_but_decided(posts: Path, make_job: Make) -> None:
    outcome, decisions = run(make_job(budget={"calls": 0}))
    assert outcome.evaluation.delivery.complete
    assert outcome.evaluation.calls == 0
    assert {decision.reason for decision in decisions} == {Reason.BUDGET}
    assert all(decision.degraded for decision in decisions)


def test_texts_that_the_level_fails_on_are_decided_and_nothing_else_changes(
    posts: Path, make_job: Make
) -> None:
    bad = {post.text for post in islice(generate(POSTS, 0), 0, None, 20)}
    with failing_on(NgramHasher, bad.__contains__):
        outcome, decisions = run(make_job())
    assert outcome.evaluation.delivery.complete
    assert outcome.evaluation.releases
    hit = [d for d in decisions if int(d.id[2:]) % 20 == 0 and d.release]
    assert {decision.level for decision in hit if not decision.degraded} == {"expert"}
    assert {decision.small_label for decision in hit} == {None}


@pytest.mark.parametrize("target", [0.7, 0.9])
def test_an_agreement_that_is_aimed_at_is_reached(
    posts: Path, content: dict[str, Any], tmp_path: Path, target: float
) -> None:
    source = {**content["source"], "path": posts}
    changes = {"target_agreement": target, "policy": {"kind": "budgeted", "audit": 0.2}}
    del content["budget"]
    job = JobSettings.model_validate(
        content | changes | {"source": source, "sink": {"path": tmp_path / "out"}}
    )
    outcome, decisions = run(job)
    quality = outcome.evaluation.quality
    assert quality.agreement is not None
    assert quality.agreement.share >= target
    assert not any(decision.degraded for decision in decisions)
    assert any(decision.reason == Reason.ACCEPTED for decision in decisions)
    found = quality.agreement_audited
    assert found is not None
    assert quality.agreement_unasked is not None
    assert found.low <= quality.agreement_unasked.share
    # Each audit tells what it has found, or the evidence would be worth nothing.
    audits = [decision for decision in decisions if decision.reason == Reason.AUDIT]
    assert len(audits) == found.events
    assert all(audit.propensity == 0.2 and audit.small_label is not None for audit in audits)


def test_the_limit_shortens_the_stream_and_the_budget_knows(posts: Path, make_job: Make) -> None:
    outcome, decisions = run(make_job(source={"limit": 130}))
    assert len(decisions) == 130
    assert outcome.evaluation.delivery.complete
    assert outcome.evaluation.dead_letters == 0


@pytest.mark.parametrize("calls", [40, 100])
def test_a_small_budget_is_spent_as_well(posts: Path, make_job: Make, calls: int) -> None:
    outcome, _ = run(make_job(budget={"calls": calls}))
    assert outcome.evaluation.calls >= 0.8 * calls
    assert outcome.evaluation.releases


def test_an_expert_that_is_down_at_first_is_asked_again(posts: Path, make_job: Make) -> None:
    lines = [json.loads(line) for line in posts.read_text().splitlines()[:POSTS]]
    for line in lines[:100]:
        line["expert"] = None
    posts.write_text("\n".join(map(json.dumps, lines)))
    outcome, _ = run(make_job())
    assert outcome.evaluation.releases


@pytest.mark.parametrize("options", [{}, {"jump": "next", "action": "sample", "aggregate": True}])
def test_the_policy_of_the_paper(
    posts: Path, content: dict[str, Any], make_job: Make, options: dict[str, Any]
) -> None:
    del content["budget"]
    outcome, decisions = run(make_job(policy={"kind": "paper", **options}))
    assert outcome.evaluation.delivery.complete
    reasons = {decision.reason for decision in decisions}
    assert Reason.WARMUP in reasons
    assert reasons & {Reason.ACCEPTED, Reason.POLICY, Reason.JUMP}
    assert 80 < outcome.evaluation.calls <= POSTS  # ten updates of eight annotations, at least


def test_the_policy_of_the_paper_keeps_to_a_budget(posts: Path, make_job: Make) -> None:
    outcome, _ = run(make_job(policy={"kind": "paper"}))
    assert outcome.evaluation.calls == CALLS


def test_an_earlier_run_is_not_overwritten(posts: Path, make_job: Make) -> None:
    job = make_job(source={"limit": 20})
    run(job)
    before = {path: path.read_bytes() for path in job.sink.path.rglob("*.*")}
    with pytest.raises(SettingsError, match="holds an earlier run"):
        run_replay(job)
    assert {path: path.read_bytes() for path in job.sink.path.rglob("*.*")} == before


def test_a_watched_source_has_no_replay(posts: Path, make_job: Make, tmp_path: Path) -> None:
    job = make_job(source={"path": ".", "watch": True}, budget={"events": 10})
    with pytest.raises(SettingsError, match="a replay needs a source that ends; take `watch` out"):
        run_replay(job)


def test_a_source_without_an_event(tmp_path: Path, make_job: Make) -> None:
    (tmp_path / "posts.jsonl").write_text("broken\n")
    outcome, decisions = run(make_job())
    assert decisions == []
    assert outcome.evaluation.dead_letters == 1
    assert outcome.report.exists()


# An LLM behind a network.


def test_an_llm_that_fails_often_loses_nothing(
    posts: Path, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    calls = 250  # enough for a warm-up that fails at first
    with endpoint(POSTS, failure_rate=0.2) as llm:
        job = asking(make_job(budget={"calls": calls}), llm.base_url)
        outcome, decisions = run(job)
        stats = llm.stats()
    evaluation = outcome.evaluation
    assert evaluation.delivery.complete
    assert set(stats["failures"]) == {"429", "500", "timeout", "nonsense", "drop"}
    assert stats["received"] == sum(decision.calls for decision in decisions)
    assert stats["received"] == evaluation.calls <= calls
    failed = [decision for decision in decisions if decision.failure is not None]
    assert failed
    assert all(decision.degraded and decision.level == "linear" for decision in failed)
    assert {share.name for share in evaluation.degraded_by} >= {d.failure for d in failed}
    assert evaluation.degraded == sum(decision.degraded for decision in decisions)
    answered = sum(decision.level == "expert" for decision in decisions)
    assert answered == stats["answered"]
    micros = stats["tokens_in"] + 2 * stats["tokens_out"]
    assert sum(decision.cost_usd_micros for decision in decisions) == micros
    assert evaluation.cost_usd == pytest.approx(micros / 1e6)


def test_a_wrong_key_degrades_every_answer_and_ends_well(
    posts: Path, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_ENV, "sk-wrong")
    with endpoint(POSTS) as llm:
        job = asking(make_job(), llm.base_url)
        outcome, decisions = run(job)
        stats = llm.stats()
    assert outcome.evaluation.delivery.complete
    assert all(decision.degraded for decision in decisions)
    assert {decision.failure for decision in decisions} == {"http_401", None}
    assert stats["by_status"] == {"401": stats["received"]}
    assert stats["received"] == outcome.evaluation.calls <= CALLS
    for path in job.sink.path.rglob("*.*"):
        assert "sk-wrong" not in path.read_text()


def test_an_llm_that_is_not_there(
    posts: Path, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    outcome, decisions = run(asking(make_job(source={"limit": 60}), "http://127.0.0.1:1/v1"))
    assert outcome.evaluation.delivery.complete
    assert {decision.failure for decision in decisions} <= {"connection", "circuit_open"}
    assert outcome.evaluation.calls == 0  # none was heard, so none is spent


def test_events_that_come_twice_are_paid_as_they_are_asked(
    tmp_path: Path, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    (tmp_path / "posts.jsonl").write_text('{"id": 1, "author": "a", "text": "same"}\n' * 50)
    paper = {"kind": "paper"}
    with endpoint(POSTS) as llm:
        job = make_job(policy=paper, budget={"calls": 20}, source={"fields": {"key": "author"}})
        outcome, decisions = run(asking(job, llm.base_url, retry={"attempts": 1}))
        received = llm.stats()["received"]
    assert outcome.evaluation.delivery.complete
    assert sum(decision.calls for decision in decisions) == received
    assert received == outcome.evaluation.calls <= 20


def test_a_key_that_is_missing_stops_it_before_anything_is_made(
    posts: Path, make_job: Make, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=f"{KEY_ENV} is not set. Operator action: export it"):
        run_replay(asking(make_job(), "http://127.0.0.1:1/v1"))
    assert not (tmp_path / "out").exists()


# Frozen: decide with what another job learned.


@pytest.fixture
def frozen(
    posts: Path, make_job: Make, redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> JobSettings:
    monkeypatch.setenv(URL_ENV, redis_url)
    return make_job(
        learning={"frozen": True},
        store={"kind": "redis", "url_env": URL_ENV, "namespace": namespace},
    )


@pytest.mark.redis
def test_a_frozen_replay_decides_with_the_head_and_changes_nothing(
    frozen: JobSettings, redis_url: str, namespace: str
) -> None:
    store = ModelStore(RedisBackend(redis_url, namespace), now=lambda: datetime.now(UTC))
    trainer = build_trainer(frozen)
    texts = ["you are an idiot", "what a lovely day"]
    trainer.learn(
        [Annotation(f"e{i}", t, 1 - i, None, Reason.WARMUP, 1.0) for i, t in enumerate(texts)], 2
    )
    head = store.publish("moderation", trainer.tensors(), parent=None, stats={}).release
    before = stored(store)
    outcome, decisions = run(frozen)
    assert outcome.evaluation.delivery.complete
    assert {decision.release for decision in decisions} == {head}
    assert Reason.WARMUP not in {decision.reason for decision in decisions}
    assert stored(store) == before


def stored(store: ModelStore) -> tuple[Any, ...]:
    head = store.head("moderation")
    assert head is not None
    release = store.load("moderation", head)
    content = {name: (a.dtype.str, a.tobytes()) for name, a in release.tensors.items()}
    return head, store.releases("moderation"), content


@pytest.mark.redis
def test_frozen_without_a_release(frozen: JobSettings) -> None:
    with pytest.raises(SettingsError, match="the store holds no release of task 'moderation'"):
        run_replay(frozen)


def test_frozen_without_the_variable(frozen: JobSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URL_ENV)
    with pytest.raises(SettingsError, match=f"{URL_ENV} is not set"):
        run_replay(frozen)


@pytest.mark.redis
def test_a_replay_that_learns_leaves_the_store_of_the_job_alone(frozen: JobSettings) -> None:
    job = JobSettings.model_validate(frozen.model_dump() | {"learning": {}})
    outcome, _ = run(job)
    assert outcome.evaluation.releases
    link = connection(job, "any")
    assert link.store().head("moderation") is None
    assert not any(astuple(link.ledger().usage()))

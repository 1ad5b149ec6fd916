"""The whole job in the mini cluster: delivery, degraded answers, failures, parity."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import pytest

from flink_job.connecting import connection
from flink_job.demo.answers import answers_from_posts
from flink_job.demo.endpoint import EndpointSettings, RunningEndpoint
from flink_job.demo.posts import LABELS, generate
from flink_job.evaluation import read_decisions
from flink_job.outcome import Outcome
from flink_job.replay import run_replay
from flink_job.run import Progress, run
from flink_job.settings import JobSettings
from model_store.embedded import EmbeddedRedis
from operators.core.cascade import Cascade
from operators.core.cascade import Outcome as CascadeOutcome
from operators.levels.features import NgramHasher
from operators.records import Decision, Event, Reason
from tests.operators.fakes import failing_on

pytestmark = pytest.mark.flink
Make = Callable[..., JobSettings]
Silent = Callable[[object], None]
EVENTS, MALFORMED = 800, 3


def decisions_of(job: JobSettings) -> list[Decision]:
    return read_decisions(job.sink.path / "decisions")


def lines_of(job: JobSettings, folder: str) -> list[dict[str, object]]:
    return [
        json.loads(line)
        for path in (job.sink.path / folder).rglob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def test_a_failing_endpoint_loses_nothing(
    make_job: Make, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_LLM_KEY", "sk-test-not-to-be-found")
    settings = EndpointSettings(
        api_key="sk-test-not-to-be-found",
        latency_ms_median=5,
        failure_rate=0.2,
        failure_kinds=("429", "500", "timeout", "nonsense", "drop"),
        hang_s=0.6,
        retry_after_s=0.05,
    )
    with RunningEndpoint(settings, answers_from_posts(generate(EVENTS, 5))) as endpoint:
        job = make_job(
            expert={
                "kind": "openai",
                "model": "m",
                "base_url": endpoint.base_url,
                "api_key_env": "TEST_LLM_KEY",
                "timeout_s": 0.3,
                "retry": {"attempts": 2, "first_wait_s": 0.01},
            }
        )
        outcome = run(job, "r", silent, lambda: endpoint.stats()["received"])
        stats = endpoint.stats()
    assert isinstance(outcome, Outcome)
    assert outcome.evaluation.delivery.complete
    assert Counter(d.id for d in decisions_of(job)) == Counter(p.id for p in generate(EVENTS, 5))
    dead = lines_of(job, "dead_letters")
    assert len(dead) == MALFORMED
    assert all(letter["error"] for letter in dead)
    assert sum(stats["failures"].values()) > 0
    degraded = [d for d in decisions_of(job) if d.degraded]
    assert degraded
    assert all(d.level == "linear" and (d.failure or d.reason is Reason.BUDGET) for d in degraded)
    assert stats["received"] == sum(d.calls for d in decisions_of(job)) <= 250
    everything = b"".join(p.read_bytes() for p in job.sink.path.rglob("*") if p.is_file())
    assert b"sk-test-not-to-be-found" not in everything


@pytest.fixture
def unreadable() -> Iterator[set[str]]:
    """Texts among the posts that make the level raise, each time that it meets them."""
    texts = {post.text for post in islice(generate(EVENTS, 5), 0, None, 40)}
    with failing_on(NgramHasher, texts.__contains__):
        yield texts


def test_job_and_replay_decide_alike(
    make_job: Make, silent: Silent, posts: Path, unreadable: set[str]
) -> None:
    # As in the replay, no block is read before what the last one taught was learned.
    fields = {"key": "author", "label": "label"}
    learned = make_job(
        source={"path": posts, "block": 100, "max_lag": 0, "fields": fields},
        flink={"checkpoint_interval_s": 0.5, "restarts": 0},
    )
    job_outcome = run(learned, "learn", silent)
    replay_outcome = run_replay(make_job())
    assert isinstance(job_outcome, Outcome)
    # Learning: the same stream, the same budget; only the loop's lag differs.
    theirs, ours = job_outcome.evaluation, replay_outcome.evaluation
    assert theirs.quality.agreement is not None
    assert ours.quality.agreement is not None
    assert abs(theirs.quality.agreement.share - ours.quality.agreement.share) < 0.05
    assert abs(theirs.calls - ours.calls) <= 15
    assert len(theirs.releases) > 3
    assert len(lines_of(learned, "releases")) >= len(theirs.releases)
    # A text that the level fails on is decided once, by others, and learned by nobody.
    assert theirs.delivery.complete
    released = {name: d for name, d in by_id(learned).items() if d.release}
    bad = {p.id for p in generate(EVENTS, 5) if p.text in unreadable} & released.keys()
    assert bad
    assert all(d.degraded or d.level == "expert" for name, d in released.items() if name in bad)
    assert {released[name].small_label for name in bad} == {None}

    # Frozen: the release that the job left behind decides in both, with one result.
    frozen = {"learning": {"frozen": True}}
    first, second = make_job(**frozen), make_job(**frozen)
    head = connection(first, "x").store().head("moderation")
    run(first, "frozen", silent)
    run_replay(second)
    assert by_id(first) == by_id(second)
    assert {d.release for d in decisions_of(first)} == {head}
    assert connection(first, "x").store().head("moderation") == head


def by_id(job: JobSettings) -> dict[str, Decision]:
    return {d.id: d for d in decisions_of(job)}


def test_a_crash_in_the_middle_loses_and_doubles_nothing(
    make_job: Make, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, lock, calls = Cascade.decide, threading.Lock(), Counter[str]()

    def crash_once(self: Cascade, shard: str, events: Sequence[Event]) -> CascadeOutcome:
        with lock:
            calls["decide"] += 1
            crash = calls["decide"] == 30
        if crash:
            message = "the machine catches fire"
            raise OSError(message)
        return original(self, shard, events)

    monkeypatch.setattr(Cascade, "decide", crash_once)
    job = make_job()
    outcome = run(job, "crash", silent)
    assert isinstance(outcome, Outcome)
    assert calls["decide"] > 30  # it was restarted
    assert outcome.evaluation.delivery.complete
    usage = connection(job, "crash").ledger().usage()
    assert usage.seen == EVENTS
    # Replayed chunks may be decided by a newer release, and other events deferred: the calls for
    # those before are spent. The budget holds all the same, and who is refused is degraded.
    asked = [d for d in decisions_of(job) if d.level == "expert" or d.failure]
    assert len(asked) == usage.deferred == usage.settled
    assert usage.reserved <= 250


def test_two_subtasks_share_a_budget_and_take_up_releases(make_job: Make, silent: Silent) -> None:
    job = make_job(flink={"parallelism": 2, "checkpoint_interval_s": 0.5})
    outcome = run(job, "two", silent)
    assert isinstance(outcome, Outcome)
    assert outcome.evaluation.delivery.complete
    assert outcome.evaluation.calls <= 250
    by_key: dict[str, list[str]] = {}
    for decision in decisions_of(job):
        by_key.setdefault(decision.key, []).append(decision.release or "")
    assert len({release for releases in by_key.values() for release in releases}) > 3


def test_the_papers_policy_runs(make_job: Make, silent: Silent) -> None:
    job = make_job(policy="paper", budget=None, learning={"release_every": 8})
    outcome = run(job, "paper", silent)
    assert isinstance(outcome, Outcome)
    assert outcome.evaluation.delivery.complete
    reasons = {share.name for share in outcome.evaluation.by_reason if share.events}
    assert Reason.WARMUP in reasons


def test_an_empty_source_ends(make_job: Make, silent: Silent, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("", encoding="utf-8")
    outcome = run(make_job(source={"path": empty}), "empty", silent)
    assert isinstance(outcome, Outcome)
    assert outcome.evaluation.delivery.complete
    assert outcome.evaluation.delivery.decisions_out == 0


def test_a_trainer_of_many_megabytes_is_checkpointed(make_job: Make, silent: Silent) -> None:
    labels = [*LABELS, *(f"label-{i}" for i in range(80))]
    task = {"name": "moderation", "labels": labels, "prompt": "Which?"}
    job = make_job(task=task, levels=[{"kind": "linear"}], budget={"calls": 800})
    outcome = run(job, "wide", silent)
    assert isinstance(outcome, Outcome)
    assert outcome.evaluation.delivery.complete
    store = connection(job, "wide").store()
    head = store.manifest("moderation", store.head("moderation") or "")
    assert sum(tensor.nbytes for tensor in head.tensors.values()) > 5 << 20


def test_a_store_that_dies_in_the_middle_degrades_and_loses_nothing(
    make_job: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        monkeypatch.setenv("TEST_DYING_REDIS", server.url)
        job = make_job(store={"kind": "redis", "url_env": "TEST_DYING_REDIS"})

        trouble: set[str | None] = set()

        def kill(progress: Progress) -> None:
            trouble.add(progress.trouble)
            if progress.usage and progress.usage.seen >= 200 and server._process is not None:
                server._process.kill()

        outcome = run(job, "dying", kill)
    assert isinstance(outcome, Outcome)
    assert outcome.evaluation.delivery.complete
    assert {share.name for share in outcome.evaluation.degraded_by} >= {"ledger_unavailable"}
    assert any(said and "Operator action" in said for said in trouble)


def test_decisions_are_committed_while_the_source_is_read(make_job: Make, posts: Path) -> None:
    visible_at: list[int] = []

    def look(progress: Progress) -> None:
        if any((job.sink.path / "decisions").rglob("part-*.jsonl")):
            visible_at.append(progress.usage.seen if progress.usage else EVENTS)

    job = make_job(
        source={"path": posts, "block": 16, "max_lag": 0, "fields": {"key": "author"}},
        flink={"checkpoint_interval_s": 0.1},
    )
    run(job, "visible", look)
    assert min(visible_at) < EVENTS


def test_a_name_of_a_run_can_be_used_again(make_job: Make, silent: Silent, tmp_path: Path) -> None:
    first = run(make_job(), "again", silent)
    few = tmp_path / "few.jsonl"
    few.write_text('{"id": "1", "text": "a", "expert": "ok"}\n', encoding="utf-8")
    job = make_job(source={"path": few})
    second = run(job, "again", silent)
    assert isinstance(first, Outcome)
    assert isinstance(second, Outcome)
    assert second.evaluation.delivery.complete
    assert second.evaluation.calls <= 1
    spent = connection(job, "again").ledger().usage().reserved
    assert spent == first.evaluation.calls + second.evaluation.calls

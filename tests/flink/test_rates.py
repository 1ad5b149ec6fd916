"""Budgets by the clock in the mini cluster, by the endpoint's own count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flink_job.connecting import connection
from flink_job.demo.answers import answers_from_posts
from flink_job.demo.endpoint import EndpointSettings, RunningEndpoint
from flink_job.demo.posts import generate
from flink_job.evaluation import read_decisions
from flink_job.outcome import Outcome
from flink_job.run import run
from flink_job.settings import JobSettings
from operators.pacing import RatePlan

pytestmark = pytest.mark.flink
Make = Callable[..., JobSettings]
Silent = Callable[[object], None]
EVENTS, CALLS, MICROS = 800, 60, 9_000
PRICE = {"input_usd": 1.0, "output_usd": 2.0}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningEndpoint]:
    monkeypatch.setenv("TEST_LLM_KEY", "sk-not-needed")
    settings = EndpointSettings(
        latency_ms_median=5,
        failure_rate=0.2,
        failure_kinds=("429", "500", "nonsense", "drop"),
        retry_after_s=0.01,
    )
    with RunningEndpoint(settings, answers_from_posts(generate(EVENTS, 5))) as running:
        yield running


@pytest.fixture
def job(make_job: Make, endpoint: RunningEndpoint) -> Make:
    def make(**budget: Any) -> JobSettings:
        return make_job(
            expert={
                "kind": "openai",
                "model": "m",
                "base_url": endpoint.base_url,
                "api_key_env": "TEST_LLM_KEY",
                "price": PRICE,
                "concurrency": 8,
                "retry": {"attempts": 2, "first_wait_s": 0.01},
            },
            budget=budget,
            flink={"checkpoint_interval_s": 0.5, "parallelism": 2},
        )

    return make


@pytest.mark.parametrize("budget", [{"per_hour": CALLS}, {"usd_per_hour": MICROS / 1e6}])
def test_the_ledger_alone_holds_the_limit_of_two_subtasks(
    job: Make,
    endpoint: RunningEndpoint,
    silent: Silent,
    monkeypatch: pytest.MonkeyPatch,
    budget: dict[str, float],
) -> None:
    """Plans that would spend it many times over; a fifth of the calls fail, and are repeated."""
    monkeypatch.setattr(RatePlan, "left", lambda *_: EVENTS)
    monkeypatch.setattr(RatePlan, "rate", lambda *_: 1.0)
    settings = job(**budget)
    outcome = run(settings, "rates", silent, lambda: endpoint.stats()["received"])
    stats = endpoint.stats()
    assert isinstance(outcome, Outcome)
    assert outcome.evaluation.delivery.complete
    usage = connection(settings, "rates").ledger().usage()
    window = settings.budget and settings.budget.window
    assert window
    assert usage.drawn <= window.limit
    if settings.budget and settings.budget.per_hour:
        assert 0.95 * CALLS <= stats["received"] <= CALLS
    else:
        paid = PRICE["input_usd"] * stats["tokens_in"] + PRICE["output_usd"] * stats["tokens_out"]
        assert 0.5 * MICROS <= paid <= MICROS  # what failed stays drawn at its most
        assert usage.drawn >= 0.9 * window.limit
    refused = [d for d in read_decisions(settings.sink.path / "decisions") if d.failure == "budget"]
    assert len(refused) > EVENTS / 2
    assert usage.refused >= len(refused) / 2  # others had a first call, and could not repeat it


def test_a_job_paces_itself_by_the_clock(
    job: Make, endpoint: RunningEndpoint, silent: Silent
) -> None:
    settings = job(per_hour=2000)
    outcome = run(settings, "paced", silent, lambda: endpoint.stats()["received"])
    assert isinstance(outcome, Outcome)
    assert outcome.evaluation.delivery.complete
    received = endpoint.stats()["received"]
    # What is saved at the start, and what a second is worth: far from an hour's calls at once.
    assert 50 <= received <= 100 + 0.6 * outcome.evaluation.wall_s + 60
    degraded = [d for d in read_decisions(settings.sink.path / "decisions") if d.degraded]
    assert len(degraded) < EVENTS

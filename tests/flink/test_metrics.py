"""Prometheus scrapes a running job: every metric is there, under its name, and adds up."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flink_job.demo.answers import answers_from_posts
from flink_job.demo.endpoint import EndpointSettings, RunningEndpoint
from flink_job.demo.posts import generate
from flink_job.run import run
from flink_job.settings import JobSettings
from model_store.loopback import free_port
from operators.flink import metrics as m
from operators.records import Reason
from tests.docker import dashboards

pytestmark = pytest.mark.flink
EVENTS, CALLS = 800, 250
# Shown for a budget by the clock and for a target, which exclude the budget of this job.
ELSEWHERE = {m.DRAWN.prometheus, m.BELOW_TARGET.prometheus}
Scrape = dict[str, dict[str, float]]


def scrape(port: int) -> Scrape:
    """Values by metric, ours by their own label too, summed; none before Flink is up."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
            text = response.read().decode()
    except urllib.error.URLError:
        return {}
    labels = {metric.prometheus: metric.label for metric in m.ALL}
    values: Scrape = defaultdict(lambda: defaultdict(float))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            own = sample.labels[label] if (label := labels.get(sample.name)) else ""
            values[sample.name][own] += sample.value
    return values


def test_prometheus_sees_every_metric(
    make_job: Callable[..., JobSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_METRICS_KEY", "sk-test")
    port, scrapes = free_port(), list[Scrape]()
    endpoint_settings = EndpointSettings(
        api_key="sk-test",
        latency_ms_median=20,
        failure_rate=0.2,
        failure_kinds=("500", "nonsense"),
        retry_after_s=0.01,
    )
    with RunningEndpoint(endpoint_settings, answers_from_posts(generate(EVENTS, 5))) as endpoint:
        job = make_job(
            expert={
                "kind": "openai",
                "model": "m",
                "base_url": endpoint.base_url,
                "api_key_env": "TEST_METRICS_KEY",
                "concurrency": 4,
                "retry": {"attempts": 2, "first_wait_s": 0.01},
                "price": {"input_usd": 1, "output_usd": 2},
            },
            budget={"calls": CALLS},
            policy={"kind": "budgeted", "audit": 0.2},
            flink={"checkpoint_interval_s": 0.5, "metrics_port": port},
        )
        run(job, "metrics", lambda _: scrapes.append(scrape(port)))
    every = {metric.prometheus for metric in m.ALL} - ELSEWHERE
    complete = [found for found in scrapes if every <= set(found)]
    seen = {name for found in scrapes for name in found}
    assert complete, every - seen
    assert dashboards.metrics() - ELSEWHERE <= seen
    last = complete[-1]

    def value(metric: m.Metric, of: str | None = None) -> float:
        family = last[metric.prometheus]
        return sum(family.values()) if of is None else family[of]

    assert 0 < value(m.EVENTS) <= EVENTS
    assert set(last[m.ROUTED.prometheus]) == {*Reason, m.OTHER}
    assert set(last[m.DECIDED.prometheus]) == {"linear", m.OTHER}
    assert set(last[m.CHUNK_EVENTS.prometheus]) == {*map(str, m.CHUNK_BOUNDS), m.INFINITE}
    assert value(m.DECIDED, m.OTHER) == value(m.ROUTED, m.OTHER) == 0
    assert 0 < value(m.CALLS) <= CALLS
    assert value(m.ERRORS, "server_error") > 0
    assert value(m.ERRORS, "nonsense") > 0
    assert value(m.COST) == value(m.TOKENS_IN) + 2 * value(m.TOKENS_OUT) > 0
    assert value(m.RELEASE) > 0
    assert value(m.RELEASE_CREATED) > 1.7e9
    assert value(m.AUDITS, m.LIFETIME) > 0
    lower, upper = (value(b, m.LIFETIME) for b in (m.AGREEMENT_LOWER, m.AGREEMENT_UPPER))
    assert 0 <= lower <= upper <= 1_000_000
    # Counts only grow while nothing restarts.
    for metric in (m.EVENTS, m.CALLS, m.ANNOTATIONS, m.PROMOTED):
        grown = [sum(found[metric.prometheus].values()) for found in complete]
        assert grown == sorted(grown)

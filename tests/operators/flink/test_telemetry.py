from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from model_store.errors import StoreUnavailable
from model_store.ledger import Usage
from operators.audit.evidence import Evidence
from operators.core.cascade import Outcome
from operators.expert.failures import Failure, http
from operators.flink import metrics as m
from operators.flink.telemetry import CascadeTelemetry, ExpertTelemetry, TrainerTelemetry
from operators.records import Answer, Audit, Decision, Deferral, Exposure, Lesson, Reason, Verdict
from operators.settings import BudgetSettings, CascadeSettings
from tests.operators.fakes import event
from tests.operators.flink.groups import FakeGroup

SETTINGS = CascadeSettings.model_validate(
    {
        "task": {"name": "t", "labels": ["a", "b"], "prompt": "?"},
        "expert": {"kind": "recorded", "column": "expert"},
        "budget": {"calls": 100, "events": 1000},
    }
)


def deferral(number: int, reason: Reason = Reason.POLICY) -> Deferral:
    return Deferral(event(number), (), (0.5, 0.5), "linear", reason, 1.0, None)


def decision(number: int, reason: Reason, *, degraded: bool = False) -> Decision:
    return Decision(
        f"e{number}", "k", "t", "", "a", (1, 0), "linear", None, reason, 0.0, degraded=degraded
    )


def fake(**values: Any) -> Any:
    return SimpleNamespace(**values)


def test_the_cascade_counts_what_became_of_its_events() -> None:
    created = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    cascade = fake(
        release=None,
        on_gpu={"linear": False, "encoder": True},
        no_opinion=Counter(encoder=7),
        release_created_unix_s=0.0,
        usage=Usage(seen=50, deferred=30, settled=10, reserved=40, retried=5),
        ledger_error=None,
    )
    group = FakeGroup()
    telemetry = CascadeTelemetry(group, SETTINGS, cascade, fake(failures=3))
    assert group.read(m.RELEASE) == group.read(m.RELEASE_CREATED) == 0
    cascade.release, cascade.release_created_unix_s = "r000042-1a2b3c4d5e6f", created
    decided = [decision(1, Reason.ACCEPTED), decision(2, Reason.BUDGET, degraded=True)]
    telemetry.chunk(4, Outcome(decided, [deferral(3), deferral(4, Reason.AUDIT)]))
    cascade.ledger_error = StoreUnavailable("redis://nowhere", "refused")
    telemetry.chunk(1, Outcome([decision(5, Reason.ACCEPTED)], []))
    assert (group.read(m.EVENTS), group.read(m.CHUNKS)) == (5, 2)
    assert (group.read(m.DEFERRED), group.read(m.DEGRADED)) == (2, 1)
    assert group.read(m.DECIDED, "linear") == 3
    routed = {reason: group.read(m.ROUTED, reason) for reason in Reason}
    assert sum(routed.values()) == 5
    assert routed[Reason.ACCEPTED] == 2
    assert routed[Reason.AUDIT] == 1
    assert [group.read(m.CHUNK_EVENTS, le) for le in ("1", "8", m.INFINITE)] == [1, 2, 2]
    assert group.read(m.LEDGER_FAILURES) == 1
    assert group.read(m.HEAD_FAILURES) == 3
    assert (group.read(m.RELEASE), group.read(m.RELEASE_CREATED)) == (42, int(created))
    assert (group.read(m.RESERVED), group.read(m.UNSETTLED)) == (40, 20)
    assert group.read(m.BUDGET_LEFT) == 60
    assert (group.read(m.ON_GPU, "linear"), group.read(m.ON_GPU, "encoder")) == (0, 1)
    assert (group.read(m.NO_OPINION, "linear"), group.read(m.NO_OPINION, "encoder")) == (0, 7)


def test_without_a_budget_nothing_is_said_about_it() -> None:
    group = FakeGroup()
    settings = SETTINGS.model_copy(update={"budget": None})
    CascadeTelemetry(group, settings, fake(on_gpu={}), fake())
    with pytest.raises(KeyError):
        group.read(m.BUDGET_LEFT)


def test_a_budget_by_the_clock_shows_what_is_drawn_and_the_calls_that_are_left() -> None:
    group = FakeGroup()
    settings = SETTINGS.model_copy(update={"budget": BudgetSettings(per_hour=100)})
    usage = Usage(seen=90, deferred=40, settled=40, reserved=80, spent=80, drawn=30)
    CascadeTelemetry(group, settings, fake(on_gpu={}, usage=usage), fake())
    assert (group.read(m.DRAWN), group.read(m.BUDGET_LEFT)) == (300_000, 70)


def test_a_call_that_took_more_than_its_most_is_counted() -> None:
    group = FakeGroup()
    telemetry = ExpertTelemetry(group, lambda: 0.0)
    telemetry.took_more()
    assert group.read(m.OVER_BOUND) == 1


def test_the_expert_counts_calls_and_money() -> None:
    group, clock = FakeGroup(), [100.0]
    telemetry = ExpertTelemetry(group, lambda: clock[0])
    answers = [
        Answer("a", calls=2, tokens_in=10, tokens_out=2, cost_usd_micros=7, latency_ms=70),
        Answer("a", calls=0),
        Answer(None, "timeout", calls=1, latency_ms=30_000),
        Answer(None, "http_418", calls=1, latency_ms=1),
        Answer(None, "budget"),
    ]
    telemetry.taken(f"d{i}" for i in range(5))
    clock[0] += 0.07
    telemetry.taken(["last"])
    assert (group.read(m.WAITING), group.read(m.OLDEST)) == (6, 70)
    telemetry.answered([(f"d{i}", Verdict(deferral(i), a)) for i, a in enumerate(answers)])
    clock[0] += 2
    assert (group.read(m.WAITING), group.read(m.OLDEST)) == (1, 2000)
    for kind in ("rate_limit", "timeout", "http_418"):
        telemetry.call_failed(kind)
    assert group.read(m.VERDICTS) == 5
    assert (group.read(m.ANSWERS), group.read(m.REMEMBERED)) == (2, 1)
    assert (group.read(m.CALLS), group.read(m.COST)) == (4, 7)
    assert (group.read(m.TOKENS_IN), group.read(m.TOKENS_OUT)) == (10, 2)
    for kind in ("timeout", "budget", "http"):
        assert group.read(m.FAILURES, kind) == 1
    assert group.read(m.FAILURES, "nonsense") == 0
    for kind in ("timeout", "rate_limit", "http"):
        assert group.read(m.ERRORS, kind) == 1
    # Only what was asked took time; everything waited.
    assert group.read(m.LATENCY, m.INFINITE) == 3
    assert group.read(m.LATENCY, "100") == 2
    assert (group.read(m.WAITED, "50"), group.read(m.WAITED, "100")) == (0, 5)
    telemetry.answered([("last", Verdict(deferral(9), answers[0]))])
    assert (group.read(m.WAITING), group.read(m.OLDEST)) == (0, 0)


@pytest.mark.parametrize("kind", Failure)
def test_every_failure_has_its_series(kind: Failure) -> None:
    group = FakeGroup()
    telemetry = ExpertTelemetry(group, lambda: 0.0)
    said = http(401) if kind is Failure.HTTP else str(kind)
    telemetry.call_failed(said)
    telemetry.answered([("d", Verdict(deferral(0), Answer(None, said)))])
    assert (group.read(m.ERRORS, kind), group.read(m.FAILURES, kind)) == (1, 1)
    assert (group.read(m.ERRORS, m.OTHER), group.read(m.FAILURES, m.OTHER)) == (0, 0)


def test_the_trainer_reports_what_audits_prove() -> None:
    group = FakeGroup()
    telemetry = TrainerTelemetry(group, SETTINGS)
    evidence = Evidence(0.5, 0.95, 1000)
    trainer = fake(agreement={}, evidence=evidence, left_out=Counter(linear=2))
    publisher = fake(published=1, rejected=2, adopted=0, error=None, parent="r000007-1a2b3c4d5e6f")
    telemetry.watch(trainer, publisher, fake(backlog=2))
    assert group.read(m.LESSONS_WAITING) == 2
    assert group.read(m.AGREEMENT, m.LIFETIME) == 0
    assert group.read(m.AGREEMENT_UPPER, m.LIFETIME) == 1_000_000
    exposed = (Exposure("linear", 0, 2),)
    evidence.take([Audit("e", "linear", 0, i > 0, 0.5, exposed) for i in range(100)])
    trainer.agreement["linear"] = 0.25
    telemetry.lesson(Lesson((), 3))
    for over in (m.LIFETIME, m.WINDOW):
        assert group.read(m.AUDITS, over) == 100
        assert group.read(m.AGREEMENT, over) == 990_000
        lower, upper = group.read(m.AGREEMENT_LOWER, over), group.read(m.AGREEMENT_UPPER, over)
        assert 900_000 < lower < 990_000 < upper <= 1_000_000
    assert group.read(m.LEVEL_AGREEMENT, "linear") == 250_000
    assert group.read(m.LEFT_OUT, "linear") == 2
    assert (group.read(m.LESSONS), group.read(m.PROMOTED), group.read(m.HEAD)) == (1, 1, 7)
    assert group.read(m.TURNED_DOWN) == 2
    assert group.read(m.STORE_FAILING) == 0
    publisher.error = StoreUnavailable("redis://nowhere", "refused")
    assert group.read(m.STORE_FAILING) == 1

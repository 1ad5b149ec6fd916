"""The alarm: a line when the proved agreement crosses its target, and none in between."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import pytest

from model_store.errors import StoreUnavailable
from model_store.ledger import Usage
from model_store.memory import MemoryBackend
from model_store.store import ModelStore
from operators.assembly import build_alarm, build_trainer
from operators.audit.alarm import AgreementAlarm
from operators.core.publisher import Publisher
from operators.records import Audit, Exposure, Lesson
from operators.settings import CascadeSettings
from tests.operators.fakes import DownLedger, memory_ledger

TARGET = 0.9


def settings(**changes: object) -> CascadeSettings:
    return CascadeSettings.model_validate(
        {
            "task": {"name": "t", "labels": ["a", "b"], "prompt": "Which?"},
            "expert": {"kind": "recorded", "column": "c"},
            "target_agreement": TARGET,
            "policy": {"kind": "budgeted", "audit": 0.1},
            **changes,
        }
    )


def _store() -> ModelStore:
    return ModelStore(MemoryBackend(), now=lambda: datetime.now(UTC))


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[int, dict[str, object]]]:
    records = [r for r in caplog.records if r.name == "operators.audit.alarm"]
    return [(r.levelno, json.loads(r.getMessage().partition(": ")[2])) for r in records]


def test_a_line_for_each_crossing_and_none_between(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    # Of 1000 events 20 are what two findings of one in ten cost: news is more than that.
    proved = iter([1.0, 0.9, 0.885, 0.881, 0.879, 0.7, 0.89, 0.9, 0.89, 0.99, 0.5])
    alarm = AgreementAlarm(TARGET, 0.1, lambda _: next(proved))
    counts = Usage(seen=1000, deferred=100, settled=0, reserved=0, disagreeing=3)
    below = []
    for _ in range(11):
        alarm.look(counts)
        below.append(alarm.below)
    assert below == [False] * 4 + [True] * 3 + [False] * 3 + [True]
    assert [level for level, _ in lines(caplog)] == [logging.WARNING, logging.INFO, logging.WARNING]
    assert lines(caplog)[0][1] == {
        "proved": 0.879,
        "target": 0.9,
        "events": 1000,
        "accepted": 900,
        "disagreeing_audits": 3,
    }


def test_what_audits_find_raises_the_alarm_and_answers_of_the_expert_end_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Through the publisher, by the counts that drive the policy."""
    caplog.set_level(logging.INFO)
    chosen, ledger = settings(), memory_ledger()
    alarm = build_alarm(chosen)
    assert alarm is not None
    store = _store()
    trainer = build_trainer(chosen)
    publisher = Publisher("t", trainer, store, ledger, chosen.learning, alarm)
    publisher.start()

    def lesson(audits: int, *, agrees: bool) -> Lesson:
        audit = Audit("e", "linear", 0, agrees, 0.1, (Exposure("linear", 0, 10),))
        return Lesson((), audits, (audit,) * audits)

    ledger.progress("0", seen=3000, deferred=1000)
    for _ in range(4):
        publisher.take(lesson(10, agrees=True))
    assert lines(caplog) == []
    for _ in range(4):
        publisher.take(lesson(10, agrees=False))
    assert [level for level, _ in lines(caplog)] == [logging.WARNING]
    assert lines(caplog)[0][1]["accepted"] == 2000
    ledger.progress("0", seen=30_000, deferred=28_000)
    for _ in range(2):
        publisher.take(lesson(1, agrees=True))
    assert [level for level, _ in lines(caplog)] == [logging.WARNING, logging.INFO]


def test_without_a_target_there_is_no_alarm() -> None:
    assert build_alarm(settings(target_agreement=None, budget={"share": 0.1})) is None


def test_a_ledger_out_of_reach_raises_no_alarm() -> None:
    chosen = settings()
    alarm = build_alarm(chosen)
    assert alarm is not None
    publisher = Publisher(
        "t",
        build_trainer(chosen),
        _store(),
        DownLedger(),
        chosen.learning,
        alarm,
    )
    publisher.take(Lesson((), 1))
    assert isinstance(publisher.error, StoreUnavailable)
    assert not alarm.below

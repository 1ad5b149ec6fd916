"""The core as it is built from settings, its loop closed through the store, without an engine."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from model_store.memory import MemoryBackend
from model_store.memory_ledger import MemoryLedger
from model_store.store import ModelStore
from operators.assembly import Parts, build_cascade, build_desk, build_trainer
from operators.core.publisher import Publisher
from operators.core.verdicts import to_decision, to_lesson
from operators.records import Decision, Event, Reason
from operators.settings import CascadeSettings, OpenAIExpertSettings
from tests.operators.fakes import FakePolicy, memory_ledger
from tests.operators.levels.checks import toy_stream

LABELS = ("good", "bad", "plain")
_SMALL = {"features": {"bits": 10, "words": 1, "characters": None}}


def written(**changes: Any) -> CascadeSettings:
    plain: dict[str, Any] = {
        "task": {"name": "tone", "labels": LABELS, "prompt": "?"},
        "expert": {"kind": "recorded", "column": "expert"},
        "levels": [_SMALL],
    }
    return CascadeSettings.model_validate(plain | changes)


def stream(count: int, failing: float = 0.0) -> list[Event]:
    """Events with the expert's recorded answers; it says nothing usable to a share of them."""
    random = np.random.default_rng(1)
    return [
        Event(
            f"e{number}",
            "k",
            text,
            "tone",
            recorded="I do not know" if random.random() < failing else LABELS[label],
        )
        for number, (text, label) in enumerate(toy_stream(count, seed=2))
    ]


@dataclass
class Loop:
    """Decides chunk by chunk; the expert answers, the trainer learns and releases at once."""

    settings: CascadeSettings
    ledger: MemoryLedger = field(default_factory=memory_ledger)
    decisions: list[Decision] = field(default_factory=list)
    releases: int = 0

    def run(self, events: Sequence[Event], size: int = 16) -> None:
        asyncio.run(self._run(events, size))

    async def _run(self, events: Sequence[Event], size: int) -> None:
        chosen, labels = self.settings, self.settings.task.labels
        store = ModelStore(MemoryBackend(), now=lambda: datetime(2025, 1, 1, tzinfo=UTC))
        cascade, desk = build_cascade(chosen, self.ledger), build_desk(chosen, self.ledger)
        publisher = Publisher(
            chosen.task.name, build_trainer(chosen), store, self.ledger, chosen.learning
        )
        publisher.start()
        for start in range(0, len(events), size):
            outcome = cascade.decide("shard", events[start : start + size])
            verdicts = await desk.answer(outcome.deferrals)
            self.decisions += outcome.decisions
            self.decisions += [to_decision(verdict, labels) for verdict in verdicts]
            publisher.take(to_lesson(verdicts, labels))
            head = store.head(chosen.task.name)
            if head is not None and head != cascade.release:
                cascade.load(store.load(chosen.task.name, head))
        assert publisher.error is None
        self.releases = publisher.published

    def reasons(self) -> Counter[Reason]:
        return Counter(decision.reason for decision in self.decisions)


VARIANTS: dict[str, dict[str, Any]] = {
    "budgeted": {"budget": {"calls": 300, "events": 1200}},
    "budgeted, a share": {"budget": {"share": 0.25, "burst": 50}},
    "budgeted, three small levels": {
        "budget": {"calls": 300, "events": 1200},
        "levels": [_SMALL | {"name": name} for name in ("a", "b", "c")],
    },
    "paper": {"policy": {"kind": "paper", "mu": 0.0001}},
    "paper, three small levels, capped": {
        "policy": {"kind": "paper", "aggregate": True, "jump": "next"},
        "budget": {"calls": 400, "events": 1200},
        "levels": [_SMALL | {"name": name} for name in ("a", "b", "c")],
    },
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_the_loop_closes(variant: dict[str, Any]) -> None:
    events = stream(1200)
    loop = Loop(written(**variant))
    loop.run(events)
    assert sorted(d.id for d in loop.decisions) == sorted(e.id for e in events)
    calls = sum(decision.calls for decision in loop.decisions)
    usage = loop.ledger.usage()
    assert usage.seen == 1200
    assert usage.deferred == usage.settled == usage.reserved == calls
    if loop.settings.budget is not None and loop.settings.budget.calls is not None:
        assert calls <= loop.settings.budget.calls
    assert loop.releases > 2
    truth = {event.id: event.recorded for event in events}
    late = [d for d in loop.decisions if int(d.id[1:]) >= 900 and d.level != "expert"]
    assert len(late) > 50
    assert np.mean([d.label == truth[d.id] for d in late]) > 0.9


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_the_same_settings_and_stream_give_the_same_decisions(variant: dict[str, Any]) -> None:
    def decided() -> list[Any]:
        loop = Loop(written(**variant))
        loop.run(stream(400))
        return [(d.id, d.label, d.probabilities, d.reason, d.propensity) for d in loop.decisions]

    assert decided() == decided()


@pytest.mark.parametrize("calls", [40, 100, 120])
def test_a_small_budget_gets_past_the_warm_up(calls: int) -> None:
    """A first release needs annotations: with too few calls for it there must be another way."""
    loop = Loop(written(budget={"calls": calls, "events": 1200}))
    loop.run(stream(1200))
    assert sum(decision.calls for decision in loop.decisions) >= 0.9 * calls - 1


def test_answers_that_are_no_labels_do_not_end_the_warm_up_for_ever() -> None:
    """Calls of the warm-up that taught nothing are gone; the others still have to teach."""
    loop = Loop(written(budget={"calls": 200, "events": 1200}))
    loop.run(stream(1200, failing=0.6))
    assert loop.releases > 0
    assert sum(decision.calls for decision in loop.decisions) >= 150


def test_an_expert_that_never_answers_leaves_degraded_answers() -> None:
    loop = Loop(written(budget={"calls": 100, "events": 400}))
    loop.run(stream(400, failing=1.0))
    assert len(loop.decisions) == 400
    assert {decision.level for decision in loop.decisions} == {"linear"}
    asked = [decision for decision in loop.decisions if decision.calls]
    assert all(d.degraded and d.failure == "nonsense" for d in asked)
    assert loop.releases == 0


def test_frozen_decides_with_what_is_there() -> None:
    loop = Loop(written(budget={"share": 0.5, "burst": 10}, learning={"frozen": True}))
    loop.run(stream(200))
    assert loop.releases == 0
    assert len(loop.decisions) == 200


def test_an_openai_expert_needs_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_LLM_KEY", raising=False)
    chosen = written(
        expert={"kind": "openai", "model": "m", "api_key_env": "TEST_LLM_KEY"},
        budget={"share": 0.1},
    )
    assert isinstance(chosen.expert, OpenAIExpertSettings)

    async def build() -> None:
        build_desk(chosen, memory_ledger())

    with pytest.raises(ValueError, match="TEST_LLM_KEY is not set"):
        asyncio.run(build())


def test_a_budget_of_calls_needs_the_length_of_the_stream() -> None:
    with pytest.raises(ValueError, match=r"budget\.events"):
        build_cascade(written(budget={"calls": 10}), memory_ledger())


def test_a_study_can_put_another_policy_in_the_place_of_the_products() -> None:
    policy = FakePolicy(send=frozenset({"e1"}))
    parts = Parts(policy=lambda _: policy)
    cascade = build_cascade(written(budget={"share": 0.5}), memory_ledger(), parts)
    outcome = cascade.decide("0", stream(3))
    assert [deferral.event.id for deferral in outcome.deferrals] == ["e1"]
    assert len(policy.usages) == 1

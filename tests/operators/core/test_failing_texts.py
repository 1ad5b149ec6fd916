"""Texts that a level fails on: each is decided once, and what is learned is as if they were not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.ledger import Usage
from operators.assembly import build_trainer
from operators.core.cascade import Cascade
from operators.core.trainer import Trainer
from operators.levels.features import NgramHasher
from operators.policy.port import Routing
from operators.records import Annotation, Event, Reason
from operators.settings import CascadeSettings, PromotionSettings
from tests.operators.core.test_cascade import QUESTION, learned, real_cascade, release_of
from tests.operators.core.test_trainer import chosen, notes
from tests.operators.fakes import (
    FakeLevel,
    FakePolicy,
    UnreadableError,
    confident,
    event,
    events,
    failing_on,
    memory_ledger,
)
from tests.operators.levels.checks import equal

FLAGS = st.lists(st.booleans(), max_size=12)
MARK = "\N{SKULL AND CROSSBONES}"


def marked(text: str) -> bool:
    return MARK in text


def stream(flags: Sequence[bool], start: int = 0) -> list[Event]:
    return [
        event(start + i, f"{MARK} buy {i}" if bad else ("buy", "hello")[i % 2])
        for i, bad in enumerate(flags)
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(FLAGS, max_size=5), st.booleans())
def test_every_event_is_decided_or_deferred_once(chunks: list[list[bool]], trained: bool) -> None:
    cascade, at = real_cascade(levels=2), 0
    if trained:
        cascade.load(release_of(learned(levels=2)))
    with failing_on(NgramHasher, marked):
        for flags in chunks:
            chunk = stream(flags, at)
            at += len(chunk)
            outcome = cascade.decide("a", chunk)
            out = [d.id for d in outcome.decisions] + [d.event.id for d in outcome.deferrals]
            assert sorted(out) == sorted(one.id for one in chunk)
            for deferral in outcome.deferrals:
                unread = trained and marked(deferral.event.text)
                assert bool(deferral.opinions) != unread
            for decision in outcome.decisions:
                assert sum(decision.probabilities) == pytest.approx(1)
    # Before the first release nothing is read, so nothing can fail.
    bad = sum(flag for flags in chunks for flag in flags) if trained else 0
    assert cascade.no_opinion["level0"] == cascade.no_opinion["level1"] == bad


def test_the_others_of_the_chunk_are_told_the_same() -> None:
    outcomes = []
    for texts in (["buy", MARK, "hello", "buy now"], ["buy", "", "hello", "buy now"]):
        cascade = real_cascade()
        cascade.load(release_of(learned()))
        with failing_on(NgramHasher, marked):
            outcomes.append(cascade.decide("a", [event(i, text) for i, text in enumerate(texts)]))
    said = [
        {d.id: d.probabilities for d in one.decisions}
        | {d.event.id: d.probabilities for d in one.deferrals}
        for one in outcomes
    ]
    assert said[0].pop("e1") == (0.5, 0.5)
    del said[1]["e1"]
    assert said[0] == said[1]


def test_a_text_that_no_level_can_read_is_what_the_expert_is_asked_about_first() -> None:
    cascade = real_cascade()
    cascade.load(release_of(learned()))
    chunk = [event(i, MARK if i % 10 == 0 else ("buy", "hello")[i % 2]) for i in range(100)]
    with failing_on(NgramHasher, marked):
        outcome = cascade.decide("a", chunk)
    asked = {d.event.id for d in outcome.deferrals if d.reason is Reason.POLICY}
    assert {f"e{i}" for i in range(0, 100, 10)} <= asked
    assert all(d.degraded for d in outcome.decisions if d.id.endswith("0"))


def test_another_level_has_its_opinion_all_the_same() -> None:
    def fails_on_two(text: str) -> list[float]:
        if text == "2":
            raise UnreadableError
        return confident(0.7)

    levels = [
        FakeLevel(fails_on_two, name="first"),
        FakeLevel(lambda _: confident(0.9), name="second"),
    ]

    class Both(FakePolicy):
        def route(self, chunk: Any, usage: Usage) -> Routing:
            chunk.ask(1, np.arange(len(chunk.ids)))
            return super().route(chunk, usage)

    cascade = Cascade(QUESTION, levels, Both(frozenset({"e1", "e2"})), memory_ledger())
    outcome = cascade.decide("a", events(4))
    heard = {d.event.id: [o.level for o in d.opinions] for d in outcome.deferrals}
    assert heard == {"e1": ["first", "second"], "e2": ["second"]}
    assert cascade.no_opinion == {"first": 1, "second": 0}


def test_a_level_that_is_broken_fails_the_chunk() -> None:
    cascade = real_cascade()
    cascade.load(release_of(learned()))
    with failing_on(NgramHasher, lambda _: True), pytest.raises(UnreadableError):
        cascade.decide("a", stream([False] * 4))


def lesson(flags: Sequence[bool], start: int) -> list[Annotation]:
    return [
        Annotation(n.event_id, n.text + MARK * bad, n.label, None, n.reason, n.propensity)
        for n, bad in zip(notes(len(flags), start), flags, strict=True)
    ]


def lessons(flags: Sequence[Sequence[bool]]) -> list[list[Annotation]]:
    return [lesson(part, 20 * number) for number, part in enumerate(flags)]


@pytest.mark.parametrize("paper", [False, True])
@settings(max_examples=25, deadline=None)
@given(flags=st.lists(FLAGS, max_size=5))
def test_what_is_learned_is_as_if_they_had_not_been(flags: list[list[bool]], paper: bool) -> None:
    trainer, spared = (build_trainer(chosen(paper=paper)) for _ in range(2))
    with failing_on(NgramHasher, marked):
        for part in lessons(flags):
            trainer.learn(part, len(part))
            spared.learn([one for one in part if not marked(one.text)], len(part))
    assert equal(trainer.tensors(), spared.tensors())
    bad = sum(map(sum, flags))
    assert trainer.left_out["first"] == trainer.left_out["second"] == bad
    assert trainer.annotations == spared.annotations + bad
    assert trainer.settled == spared.settled


GATE = PromotionSettings(holdout=0.4, window=16, least=2)


@pytest.mark.parametrize("settings_", [chosen(), chosen(gate=GATE), chosen(paper=True)])
@settings(max_examples=15, deadline=None)
@given(flags=st.lists(FLAGS, max_size=6), data=st.data())
def test_a_restored_trainer_leaves_out_the_same(
    settings_: CascadeSettings, flags: list[list[bool]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(flags)))
    taught = lessons(flags)
    with failing_on(NgramHasher, marked):
        steady, first, second = (build_trainer(settings_) for _ in range(3))
        teach(steady, taught)
        teach(first, taught[:cut])
        second.restore(first.snapshot())
        teach(second, taught[cut:])
        second.rule()
    assert steady.snapshot() == second.snapshot()


def teach(trainer: Trainer, taught: Sequence[Sequence[Annotation]]) -> None:
    for part in taught:
        trainer.learn(part, len(part))


def test_one_that_is_held_out_scores_as_no_opinion_and_stops_no_release() -> None:
    trainer = build_trainer(chosen(gate=GATE))
    with failing_on(NgramHasher, marked):
        teach(trainer, lessons([[False] * 12] * 2))
        trainer.serve()
        teach(trainer, lessons([[True] * 12, [False] * 12]))
        trainer.serve()
        ruling = trainer.rule()
    assert ruling is not None
    assert ruling.reason is None


def test_a_level_that_is_broken_fails_the_lesson() -> None:
    trainer = build_trainer(chosen())
    with failing_on(NgramHasher, lambda _: True), pytest.raises(UnreadableError):
        teach(trainer, lessons([[False] * 4]))
    assert trainer.annotations == 0

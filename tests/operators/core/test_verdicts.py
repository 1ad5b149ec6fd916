"""From a verdict to the event's decision and the trainer's lesson."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.core.gate import quadratic
from operators.core.verdicts import EXPERT, to_decision, to_lesson
from operators.records import Answer, Deferral, Event, Opinion, Reason, Verdict
from operators.settings import CascadeSettings

LABELS = ("spam", "ok", "unsure")


def verdict(label: str | None, number: int = 0, *, reached: bool = True) -> Verdict:
    answer = (
        Answer(label, None, calls=1, tokens_in=9, tokens_out=2, cost_usd_micros=7, latency_ms=3.5)
        if label is not None
        else Answer(None, "timeout", calls=3, cost_usd_micros=2)
    )
    probabilities = (0.2, 0.7, 0.1)
    return Verdict(
        Deferral(
            Event(f"e{number}", "k", f"text {number}", "task", "2025-01-01T00:00:00Z"),
            (Opinion("linear", probabilities),) if reached else (),
            probabilities,
            "linear",
            Reason.AUDIT,
            0.02,
            "r000001-0123456789ab",
        ),
        answer,
    )


def test_the_experts_answer_is_the_decision() -> None:
    decision = to_decision(verdict("unsure"), LABELS)
    assert (decision.label, decision.level) == ("unsure", EXPERT)
    assert decision.probabilities == (0.0, 0.0, 1.0)
    assert (decision.degraded, decision.failure) == (False, None)
    assert (decision.calls, decision.cost_usd_micros) == (1, 7)
    assert (decision.reason, decision.propensity) == (Reason.AUDIT, 0.02)
    assert (decision.id, decision.key, decision.task) == ("e0", "k", "task")
    assert (decision.time, decision.release) == ("2025-01-01T00:00:00Z", "r000001-0123456789ab")


def test_without_an_answer_the_small_levels_answer_goes_out_degraded() -> None:
    decision = to_decision(verdict(None), LABELS)
    assert (decision.label, decision.level) == ("ok", "linear")
    assert decision.probabilities == (0.2, 0.7, 0.1)
    assert (decision.degraded, decision.failure) == (True, "timeout")
    assert (decision.calls, decision.cost_usd_micros) == (3, 2)


@pytest.mark.parametrize("label", LABELS)
def test_an_annotation_tells_how_well_what_served_scored(label: str) -> None:
    (note,) = to_lesson([verdict(label)], LABELS).annotations
    opinion = np.array([[0.2, 0.7, 0.1]])
    assert note.score == pytest.approx(quadratic(opinion, np.array([LABELS.index(label)]))[0])


def test_before_the_first_release_nothing_scores() -> None:
    first = verdict("ok")
    untrained = msgspec.structs.replace(first.deferral, release=None)
    (note,) = to_lesson([Verdict(untrained, first.answer)], LABELS).annotations
    assert note.score is None


@given(answers=st.lists(st.none() | st.sampled_from(LABELS), max_size=8))
def test_answers_teach_and_failures_are_settled_too(answers: list[str | None]) -> None:
    lesson = to_lesson([verdict(label, i) for i, label in enumerate(answers)], LABELS)
    assert lesson.settled == len(answers)
    expected = [(f"e{i}", LABELS.index(a)) for i, a in enumerate(answers) if a is not None]
    assert [(note.event_id, note.label) for note in lesson.annotations] == expected
    for note in lesson.annotations:
        assert note.text == f"text {note.event_id[1:]}"
        assert (note.answer, note.reason, note.propensity) == (1, Reason.AUDIT, 0.02)


def test_no_answer_of_the_cascade_where_no_level_was_reached() -> None:
    (note,) = to_lesson([verdict("ok", reached=False)], LABELS).annotations
    assert note.answer is None


def test_no_small_level_may_be_called_as_the_expert() -> None:
    """A decision's level must tell which of the two answered."""
    with pytest.raises(ValueError, match="names must differ"):
        CascadeSettings.model_validate(
            {
                "task": {"name": "t", "labels": LABELS, "prompt": "p"},
                "expert": {"kind": "recorded", "column": "c"},
                "budget": {"share": 0.1},
                "levels": [{"name": EXPERT}],
            }
        )


@given(answers=st.lists(st.none() | st.sampled_from(LABELS), max_size=8))
def test_an_audit_is_confirmed_by_the_same_answer_alone(answers: list[str | None]) -> None:
    lesson = to_lesson([verdict(label, i) for i, label in enumerate(answers)], LABELS)
    assert [audit.agrees for audit in lesson.audits] == [label == "ok" for label in answers]
    assert {(audit.level, audit.answer) for audit in lesson.audits} <= {("linear", 1)}


def test_what_the_policy_sent_is_no_audit() -> None:
    sent = msgspec.structs.replace(verdict("ok").deferral, reason=Reason.POLICY)
    assert to_lesson([Verdict(sent, Answer("ok"))], LABELS).audits == ()


def test_a_decision_tells_what_the_small_levels_would_have_said() -> None:
    assert to_decision(verdict("unsure"), LABELS).small_label == "ok"
    assert to_decision(verdict("unsure", reached=False), LABELS).small_label is None
    assert to_decision(verdict(None), LABELS).small_label is None

"""What follows from a verdict: the event's decision, and the lesson for the trainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from operators.records import Annotation, Audit, Decision, Deferral, Lesson, Reason, Verdict

EXPERT = "expert"
"""Name of the last level, in decisions."""


def to_decision(verdict: Verdict, labels: Sequence[str]) -> Decision:
    """The expert's answer; without one the small levels' answer, marked degraded."""
    deferral, answer = verdict.deferral, verdict.answer
    event = deferral.event
    own = labels[_best(deferral)]
    if answer.label is not None:
        label, level = answer.label, EXPERT
        probabilities = tuple(float(name == label) for name in labels)
    else:
        label, level, probabilities = own, deferral.level, deferral.probabilities
    return Decision(
        id=event.id,
        key=event.key,
        task=event.task,
        time=event.time,
        label=label,
        probabilities=probabilities,
        level=level,
        release=deferral.release,
        reason=deferral.reason,
        propensity=deferral.propensity,
        cost_usd_micros=answer.cost_usd_micros,
        calls=answer.calls,
        degraded=answer.label is None,
        failure=answer.failure,
        small_label=own if answer.label is not None and deferral.opinions else None,
    )


def to_lesson(verdicts: Sequence[Verdict], labels: Sequence[str]) -> Lesson:
    """The annotations of a chunk of verdicts; failures teach nothing but are settled too."""
    index = {label: i for i, label in enumerate(labels)}
    return Lesson(
        annotations=tuple(
            Annotation(
                event_id=verdict.deferral.event.id,
                text=verdict.deferral.event.text,
                label=index[verdict.answer.label],
                answer=_best(verdict.deferral) if verdict.deferral.opinions else None,
                reason=verdict.deferral.reason,
                # What is there anyhow is learned for certain, whatever the policy would have done.
                propensity=1.0
                if verdict.deferral.reason == Reason.PAID
                else verdict.deferral.propensity,
                score=_score(verdict.deferral, index[verdict.answer.label]),
            )
            for verdict in verdicts
            if verdict.answer.label is not None
        ),
        settled=len(verdicts),
        audits=tuple(
            _audit(verdict, index)
            for verdict in verdicts
            if verdict.deferral.reason == Reason.AUDIT
        ),
    )


def _best(deferral: Deferral) -> int:
    """The label that the small levels would have given; the first of equals."""
    return deferral.probabilities.index(max(deferral.probabilities))


def _score(deferral: Deferral, label: int) -> float | None:
    """As `operators.core.gate.quadratic`, without numpy: it is asked about one event at a time."""
    if deferral.release is None:
        return None
    missed = sum((p - (i == label)) ** 2 for i, p in enumerate(deferral.probabilities))
    return 1 - missed / 2


def _audit(verdict: Verdict, index: Mapping[str, int]) -> Audit:
    deferral, label = verdict.deferral, verdict.answer.label
    accepted = _best(deferral)
    return Audit(
        event_id=deferral.event.id,
        level=deferral.level,
        answer=accepted,
        agrees=label is not None and index[label] == accepted,
        propensity=deferral.propensity,
        exposed=deferral.exposed,
    )

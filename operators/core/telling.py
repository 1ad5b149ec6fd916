"""What the expert taught, as records for people and other systems: labels by name."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from operators.records import Lesson, Reason


class ToldAnnotation(msgspec.Struct, frozen=True):
    """The expert's label for an event; with its text, for a training set.

    Parameters
    ----------
    small_label
        What the small levels would have answered; None if none was reached.
    propensity
        Probability with which the event was sent to the expert: weigh by its inverse.
    """

    id: str
    text: str
    label: str
    small_label: str | None
    reason: Reason
    propensity: float


class ToldExposure(msgspec.Struct, frozen=True):
    """Accepted answers that an audit could have met: of one level, saying one label."""

    level: str
    label: str
    accepted: int


class ToldAudit(msgspec.Struct, frozen=True):
    """What the check of an accepted answer found; all of them are the evidence of the agreement.

    Parameters
    ----------
    level, label
        The level that was checked, and its answer.
    agrees
        Whether the expert says the same; false if it said nothing.
    propensity
        Probability with which it was checked: the inverse is how many answers it stands for.
    exposed
        What was accepted of the shard since the audit before, the checked answer included.
    """

    id: str
    level: str
    label: str
    agrees: bool
    propensity: float
    exposed: tuple[ToldExposure, ...]


def tell_annotations(lesson: Lesson, labels: Sequence[str]) -> list[ToldAnnotation]:
    """The annotations of a lesson."""
    return [
        ToldAnnotation(
            id=told.event_id,
            text=told.text,
            label=labels[told.label],
            small_label=None if told.answer is None else labels[told.answer],
            reason=told.reason,
            propensity=told.propensity,
        )
        for told in lesson.annotations
    ]


def tell_audits(lesson: Lesson, labels: Sequence[str]) -> list[ToldAudit]:
    """The audits of a lesson."""
    return [
        ToldAudit(
            id=audit.event_id,
            level=audit.level,
            label=labels[audit.answer],
            agrees=audit.agrees,
            propensity=audit.propensity,
            exposed=tuple(
                ToldExposure(seen.level, labels[seen.answer], seen.accepted)
                for seen in audit.exposed
            ),
        )
        for audit in lesson.audits
    ]

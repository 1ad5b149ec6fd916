"""Which decision belongs to which event, and which events have none or too many."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from operators.records import Decision


@dataclass(frozen=True)
class Reference:
    """What the source knows about one event.

    Parameters
    ----------
    id
        The event's id. A source may hold an id several times: each is an event of its own.
    label
        The gold label, or None if it is not known.
    expert
        What the expert answers: recorded or simulated; None if it is not known. Compared as it is,
        so an answer that is none of the labels counts as wrong.
    """

    id: str
    label: str | None = None
    expert: str | None = None


@dataclass(frozen=True)
class Joined:
    """Decisions in the order of the stream.

    Parameters
    ----------
    answers
        One entry a reference: its decision, or None.
    missing
        Ids of the references without a decision, in stream order.
    doubled
        Ids of the decisions beyond one an event; an id stands there once for each that is too many.
    unknown
        Ids of the decisions on events that no reference knows.
    """

    answers: tuple[Decision | None, ...]
    missing: tuple[str, ...]
    doubled: tuple[str, ...]
    unknown: tuple[str, ...]


def join(references: Sequence[Reference], decisions: Sequence[Decision]) -> Joined:
    """Give each reference its decision, by id.

    Events that share an id get its decisions in the order in which they come; those left over are
    doubled.
    """
    waiting: defaultdict[str, deque[Decision]] = defaultdict(deque)
    for decision in decisions:
        waiting[decision.id].append(decision)
    answers = tuple(
        waiting[reference.id].popleft() if waiting[reference.id] else None
        for reference in references
    )
    known = {reference.id for reference in references}
    left = [decision.id for queue in waiting.values() for decision in queue]
    return Joined(
        answers=answers,
        missing=tuple(
            reference.id
            for reference, answer in zip(references, answers, strict=True)
            if answer is None
        ),
        doubled=tuple(name for name in left if name in known),
        unknown=tuple(name for name in left if name not in known),
    )

"""One line of the table: what went in, what came out, and what was paid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple, dataclass

from operators.core.verdicts import EXPERT
from operators.records import Decision

_HEAD = (
    "scenario",
    "events in",
    "decisions out",
    "lost",
    "doubled",
    "degraded",
    "calls at the endpoint",
    "deferred",
    "paid",
    "calls per paid event",
    "under way at kills",
    "budget",
    "kills",
    "note",
)


@dataclass(frozen=True)
class Row:
    """What a scenario came to.

    Parameters
    ----------
    events, decisions
        Put into the source; committed in the sink.
    lost, doubled
        Events without a decision; decisions beyond the first of an event.
    degraded
        Decisions that should have been the expert's.
    calls
        As the endpoint counted them.
    deferred
        Events that were sent to the expert, by their decisions.
    paid, per_paid
        Those of them that were asked at all; calls at the endpoint for each.
    under_way
        Calls that were, in all, when something was killed.
    budget
        The most calls that were allowed by the end.
    kills
        Of processes, or switches of a server.
    """

    scenario: str
    events: int
    decisions: int
    lost: int
    doubled: int
    degraded: int
    calls: int
    deferred: int
    paid: int
    per_paid: str
    under_way: int
    budget: int
    kills: int
    note: str = ""

    @property
    def holds(self) -> bool:
        """Exactly one decision each, and no more calls than were allowed."""
        return not self.lost and not self.doubled and self.calls <= self.budget


def count(
    scenario: str,
    events: Collection[str],
    decisions: Sequence[Decision],
    *,
    calls: int,
    under_way: int,
    budget: int,
    kills: int,
    note: str = "",
) -> Row:
    """Compare both ends of a job.

    Parameters
    ----------
    events
        Ids that went in.
    """
    counts = Counter(decision.id for decision in decisions)
    strange = len(counts.keys() - set(events))
    deferred = [d for d in decisions if d.level == EXPERT or d.failure is not None]
    paid = sum(d.level == EXPERT or d.calls > 0 for d in deferred)
    return Row(
        scenario,
        len(events),
        len(decisions),
        lost=len(set(events) - counts.keys()),
        doubled=sum(number - 1 for number in counts.values()) + strange,
        degraded=sum(d.degraded for d in decisions),
        calls=calls,
        deferred=len(deferred),
        paid=paid,
        per_paid=f"{calls / paid:.3f}" if paid else "-",
        under_way=under_way,
        budget=budget,
        kills=kills,
        note=note,
    )


def to_markdown(rows: Iterable[Row]) -> str:
    """The table."""
    lines = [_HEAD, ("---",) * len(_HEAD), *(astuple(row) for row in rows)]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)

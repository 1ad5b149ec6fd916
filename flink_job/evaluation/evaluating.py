"""From the decisions of a run to its evaluation. Pure: reads no file and no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from flink_job.evaluation.errors import EvaluationError
from flink_job.evaluation.joining import Joined, Reference, join
from flink_job.evaluation.quality import measure_quality
from flink_job.evaluation.results import Delivery, Evaluation, Share
from flink_job.evaluation.series import running_series
from operators.records import Decision, Reason
from operators.settings import TaskSettings

_MICROS = 1_000_000
"""Millionths of a US dollar in a dollar."""


def evaluate(
    references: Sequence[Reference],
    decisions: Sequence[Decision],
    task: TaskSettings,
    levels: Sequence[str],
    *,
    calls: int,
    events_in: int,
    dead_letters: int,
    wall_s: float,
) -> Evaluation:
    """Evaluate a run that has ended.

    Parameters
    ----------
    references
        The events of the source in stream order, those that became dead letters left out.
    decisions
        What the run wrote, in any order.
    task
        Names the labels that may occur.
    levels
        Names of the small levels, cheapest first, then the expert's.
    calls
        Calls to the expert, counted where they are made.
    events_in
        Events that the run took in, dead letters not included.
    dead_letters
        Inputs that were no events.
    wall_s
        How long the run took, in seconds.

    Raises
    ------
    EvaluationError
        If a decision is by an unknown level or has an unknown label, or a gold label is unknown.
    """
    _check_names(references, decisions, task, levels)
    joined = join(references, decisions)
    answered = [answer for answer in joined.answers if answer is not None]
    degraded = [answer for answer in answered if answer.degraded]
    failures = [answer.failure or answer.reason.value for answer in degraded]
    return Evaluation(
        delivery=_delivery(joined, len(decisions), events_in),
        dead_letters=dead_letters,
        wall_s=wall_s,
        levels=tuple(levels),
        by_level=_shares(levels, [answer.level for answer in answered], len(answered)),
        by_reason=_shares(Reason, [answer.reason for answer in answered], len(answered)),
        degraded=len(degraded),
        degraded_by=_shares(sorted(set(failures)), failures, len(answered)),
        calls=calls,
        calls_per_event=calls / events_in if events_in else 0.0,
        cost_usd=sum(decision.cost_usd_micros for decision in decisions) / _MICROS,
        releases=tuple(dict.fromkeys(a.release for a in answered if a.release is not None)),
        quality=measure_quality(references, joined.answers, task, expert=levels[-1]),
        series=running_series(references, joined.answers, levels),
    )


def _check_names(
    references: Sequence[Reference],
    decisions: Sequence[Decision],
    task: TaskSettings,
    levels: Sequence[str],
) -> None:
    """Refuse names that the settings lack: they would silently count as errors or not at all."""
    labels = frozenset(task.labels)
    for decision in decisions:
        if decision.level not in levels:
            raise EvaluationError(
                f"The decision on event {decision.id!r} is by level {decision.level!r}, which is "
                f"none of {list(levels)}.",
                "evaluate with the settings that the run had, and give a folder that holds the "
                "decisions of this run only.",
            )
        if decision.label not in labels:
            raise EvaluationError(
                f"The decision on event {decision.id!r} is {decision.label!r}, which is none of "
                f"the labels {list(task.labels)}.",
                "evaluate with the settings that the run had, and give a folder that holds the "
                "decisions of this run only.",
            )
    for reference in references:
        if reference.label is not None and reference.label not in labels:
            raise EvaluationError(
                f"The gold label of event {reference.id!r} is {reference.label!r}, which is none "
                f"of the labels {list(task.labels)}.",
                "correct the name of the column with the gold labels, or the task's `labels`.",
            )


def _delivery(joined: Joined, decisions_out: int, events_in: int) -> Delivery:
    return Delivery(
        events_in=events_in,
        events_known=len(joined.answers),
        decisions_out=decisions_out,
        missing_ids=joined.missing,
        doubled_ids=joined.doubled,
        unknown_ids=joined.unknown,
        complete=not (joined.missing or joined.doubled or joined.unknown)
        and events_in == len(joined.answers),
    )


def _shares(names: Iterable[str], found: Sequence[str], answered: int) -> tuple[Share, ...]:
    """Count each name among those found; shares are of the answered events."""
    counts = Counter(found)
    return tuple(
        Share(name=str(name), events=counts[name], share=counts[name] / max(1, answered))
        for name in names
    )

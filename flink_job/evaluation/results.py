"""What an evaluation says, as frozen records. Their field names are those of ``summary.json``."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True)
class Proportion:
    """A share that was counted, with its 95 % Wilson interval.

    Parameters
    ----------
    hits, events
        ``share`` is ``hits / events``; there is at least one event.
    low, high
        The interval, in [0, 1].
    """

    hits: int
    events: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class PositiveScores:
    """Scores of the one label that matters; 0 where nothing was answered with it."""

    label: str
    f1: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Scores:
    """Answers against gold labels.

    Parameters
    ----------
    events
        Events that have both.
    macro_f1
        Mean F1 of the labels that occur among the gold ones.
    positive
        None if the task names no positive label, or the gold labels have none of it.
    """

    events: int
    accuracy: Proportion
    macro_f1: float
    positive: PositiveScores | None


@dataclass(frozen=True)
class Quality:
    """How good the decisions are, beside baselines. None: the references lack what it needs.

    Parameters
    ----------
    cascade
        The decisions against gold.
    expert_alone
        The expert's column against gold: what asking about every event would have given.
    majority
        Always the most frequent gold label: an oracle, since it knows how often each label occurs.
    majority_label
        That label.
    agreement
        Decisions that equal the expert's column.
    agreement_unasked
        The same among the decisions that a small level made.
    agreement_audited
        What audits say of the accepted answers, those of the audited events included. Needs no
        column of the expert: the only one that a live stream has. None without audits.
    """

    cascade: Scores | None
    expert_alone: Scores | None
    majority: Scores | None
    majority_label: str | None
    agreement: Proportion | None
    agreement_unasked: Proportion | None
    agreement_audited: Proportion | None


@dataclass(frozen=True)
class Share:
    """How many of the answered events have something in common, and their share of them."""

    name: str
    events: int
    share: float


@dataclass(frozen=True)
class Delivery:
    """Whether every event was decided exactly once.

    Parameters
    ----------
    events_in
        Events as the job counted them, dead letters not included.
    events_known
        Events that the source holds.
    decisions_out
        Decisions that were written.
    missing_ids, doubled_ids, unknown_ids
        Events without a decision; decisions beyond one an event; decisions on no known event.
        An id stands there as often as it is missing or too many.
    complete
        True if the three lists are empty and ``events_in`` equals ``events_known``.
    """

    events_in: int
    events_known: int
    decisions_out: int
    missing_ids: tuple[str, ...]
    doubled_ids: tuple[str, ...]
    unknown_ids: tuple[str, ...]
    complete: bool


@dataclass(frozen=True)
class Bin:
    """A stretch of the stream.

    Parameters
    ----------
    end
        Number of its last event; the first event of the stream is number 1.
    shares
        Share of each level, in the order of the levels; all 0 if nothing was decided.
    calls
        Calls by its end, summed over the decisions.
    agreement, accuracy
        Within this stretch alone; None where the references lack what it needs.
    """

    end: int
    shares: tuple[float, ...]
    calls: int
    agreement: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Evaluation:
    """All that is known about a finished run.

    Parameters
    ----------
    levels
        Names of the levels, cheapest first, the expert last.
    by_level, by_reason
        All of them, also those without an event. Shares are of the answered events and sum to 1.
    degraded
        Events that a small level answered although the expert was wanted.
    degraded_by
        The same by the kind of failure, or by the reason if the expert was not asked at all.
    calls
        Calls to the expert, counted where they are made.
    calls_per_event
        ``calls / events_in``; 0 without events.
    cost_usd
        Spent for all decisions that were written, doubled ones included.
    releases
        The releases that were used, in the order of their first use.
    series
        The course of the run; empty without references.
    """

    delivery: Delivery
    dead_letters: int
    wall_s: float
    levels: tuple[str, ...]
    by_level: tuple[Share, ...]
    by_reason: tuple[Share, ...]
    degraded: int
    degraded_by: tuple[Share, ...]
    calls: int
    calls_per_event: float
    cost_usd: float
    releases: tuple[str, ...]
    quality: Quality
    series: tuple[Bin, ...]


def to_json(evaluation: Evaluation) -> str:
    """Write an evaluation for machines: the records as they are, indented, numbers unrounded."""
    return msgspec.json.format(msgspec.json.encode(evaluation), indent=2).decode()

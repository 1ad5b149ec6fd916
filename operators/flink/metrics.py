"""Every metric that the operators report: its name, its unit, and what it counts.

All are gauges of whole numbers, for that is what PyFlink reports from its worker processes; shares
are in parts per million, money in millionths of a US dollar. Most are counts that only grow, and
begin at 0 when a subtask (re)starts, as Flink's own counters do: take their rate. They are as of
the end of the last bundle, so an operator that has nothing to do shows its last numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from operators.expert.failures import Failure

# Scope of an operator's metrics in the names of Flink's Prometheus reporter.
_OPERATOR: Final = "flink_taskmanager_job_task_operator"
OTHER: Final = "other"
"""Label of what has no label of its own."""
INFINITE: Final = "+Inf"
"""Label of a histogram's last bucket, as Prometheus wants it."""

KINDS: Final = tuple(Failure)
"""Kinds of failure, each a series of its own from the start."""
LIFETIME, WINDOW = "run", "window"
"""What agreement is over: all that the trainer's state remembers, or the latest full window."""
CHUNK_BOUNDS: Final = (1, 8, 32, 128, 512)
"""Upper bounds of the buckets of chunk sizes, in events."""
LATENCY_BOUNDS_MS: Final = (10, 50, 100, 500, 1_000, 5_000, 10_000, 60_000)
"""Upper bounds of the buckets of waiting times, in milliseconds."""


@dataclass(frozen=True)
class Metric:
    """One metric, or one family of them, of one operator.

    Parameters
    ----------
    scope
        The operator that reports it.
    name
        With its unit, where it is no plain count.
    help
        What it counts.
    label
        What tells the members of a family apart; None for a single metric.
    """

    scope: str
    name: str
    help: str
    label: str | None = None

    @property
    def prometheus(self) -> str:
        """Its name in Prometheus."""
        return "_".join(part for part in (_OPERATOR, self.scope, self.label, self.name) if part)


_CASCADE, _EXPERT, _TRAINER = "cascade", "expert", "trainer"

EVENTS = Metric(_CASCADE, "events", "Events taken in.")
CHUNKS = Metric(_CASCADE, "chunks", "Chunks taken in.")
CHUNK_EVENTS = Metric(_CASCADE, "chunk_events_bucket", "Chunks of at most so many events.", "le")
DECIDED = Metric(_CASCADE, "decided", "Events answered by a small level at once.", "level")
ROUTED = Metric(_CASCADE, "routed", "Events decided or deferred, by reason.", "reason")
DEFERRED = Metric(_CASCADE, "deferred", "Events sent on to the expert.")
DEGRADED = Metric(_CASCADE, "degraded", "Answered at once for want of budget.")
NO_OPINION = Metric(
    _CASCADE,
    "no_opinion",
    "Events of which a level has no opinion: it failed on them.",
    "level",
)
ON_GPU = Metric(_CASCADE, "on_gpu", "1 if the level runs on a GPU, else 0.", "level")
SWAPS = Metric(_CASCADE, "swaps", "Releases taken up.")
REJECTED = Metric(_CASCADE, "rejected_releases", "Releases that did not load; the old one served.")
RELEASE = Metric(_CASCADE, "release_sequence", "Number of the release in use; 0 before the first.")
RELEASE_CREATED = Metric(
    _CASCADE, "release_created_unix_s", "When the release in use was made; 0 before the first."
)
HEAD_FAILURES = Metric(_CASCADE, "store_failures", "Times that the head could not be asked for.")
LEDGER_FAILURES = Metric(
    _CASCADE, "ledger_failures", "Chunks whose counts did not reach the store."
)
RESERVED = Metric(_CASCADE, "reserved_calls", "Calls reserved by all subtasks of the run together.")
UNSETTLED = Metric(
    _CASCADE, "unsettled", "Deferrals of all subtasks whose verdict the trainer has not seen yet."
)
BUDGET_LEFT = Metric(_CASCADE, "budget_left_calls", "Calls that may still be reserved by now.")
DRAWN = Metric(
    _CASCADE, "budget_drawn_ppm", "Part of a budget by the clock that is drawn, of a million."
)

VERDICTS = Metric(_EXPERT, "verdicts", "Deferrals that have a verdict.")
ANSWERS = Metric(_EXPERT, "answers", "Verdicts with a label.")
REMEMBERED = Metric(_EXPERT, "remembered", "Answers that were paid before.")
CALLS = Metric(_EXPERT, "calls", "Calls made, failed ones and retries included.")
TOKENS_IN = Metric(_EXPERT, "tokens_in", "Prompt tokens paid.")
TOKENS_OUT = Metric(_EXPERT, "tokens_out", "Answer tokens paid.")
COST = Metric(_EXPERT, "cost_usd_micros", "Money spent, in millionths of a US dollar.")
FAILURES = Metric(_EXPERT, "failures", "Verdicts without a label, by why.", "kind")
ERRORS = Metric(_EXPERT, "errors", "Calls that failed, those that were retried included.", "kind")
OVER_BOUND = Metric(
    _EXPERT, "over_bound", "Answers that took more than a call was thought to take at the most."
)
LATENCY = Metric(
    _EXPERT, "latency_ms_bucket", "Verdicts with calls that took so long, retries included.", "le"
)
WAITED = Metric(
    _EXPERT, "waited_ms_bucket", "Verdicts that went out so long after the deferral came in.", "le"
)
WAITING = Metric(_EXPERT, "waiting", "Deferrals whose verdict has not gone out yet.")
OLDEST = Metric(_EXPERT, "oldest_waiting_ms", "How long the oldest of them has been waiting.")

LESSONS = Metric(_TRAINER, "lessons", "Chunks of verdicts learned from.")
ANNOTATIONS = Metric(_TRAINER, "annotations", "Annotations learned from.")
LEFT_OUT = Metric(
    _TRAINER, "left_out", "Annotations that a level did not learn: it failed on them.", "level"
)
AUDITS = Metric(_TRAINER, "audits", "Accepted answers that were checked at random.", "over")
AGREEMENT = Metric(
    _TRAINER, "agreement_ppm", "Share of them that the expert confirmed; 0 before any.", "over"
)
AGREEMENT_LOWER = Metric(
    _TRAINER, "agreement_lower_ppm", "Bound on it for all accepted answers, at any time.", "over"
)
AGREEMENT_UPPER = Metric(_TRAINER, "agreement_upper_ppm", "The same from above.", "over")
BELOW_TARGET = Metric(
    _TRAINER,
    "below_target",
    "1 while audits prove too little for the target, else 0.",
)
LEVEL_AGREEMENT = Metric(
    _TRAINER,
    "agreement_on_annotated_ppm",
    "A level's agreement with the expert where that was asked: on the hard events.",
    "level",
)
LESSONS_WAITING = Metric(_TRAINER, "lessons_waiting", "Lessons taken in and not learned yet.")
PROMOTED = Metric(_TRAINER, "promoted", "Releases that became the head.")
TURNED_DOWN = Metric(_TRAINER, "rejected", "Releases that the gate did not let through.")
ADOPTED = Metric(_TRAINER, "adopted", "Releases gone on from, after a rollback as a rule.")
STORE_FAILING = Metric(
    _TRAINER, "store_failing", "1 from a failure of the store to the next published release."
)
HEAD = Metric(_TRAINER, "head_sequence", "Number of the release published or adopted last.")

ALL: Final = tuple(value for value in list(globals().values()) if isinstance(value, Metric))

"""How often a bound on the agreement fails, over many replays of real streams.

    python -m benchmarks.study.certificates DATA [--replays 200] [--workers 1]

Each replay aims at an agreement, with audits of all accepted answers alike, or spends a budget,
with audits by doubt, on one order of a stream with recorded answers: shuffled, or shifted (one
label after the other). At every audit the bounds on all accepted answers so far are held against
the truth, which the recorded answers tell: a replay fails if one was wrong at any of its moments.
Those on a window are looked at when it is full.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import typer

from benchmarks.study.running import replay_stream
from benchmarks.study.sets import StudySet, paper_sets, settings_of
from benchmarks.study.streams import Item, Order, chosen, items
from operators.assembly import parts_that_share
from operators.audit.evidence import EVERYTHING, Evidence
from operators.records import Audit, Decision, Exposure, Reason

CONFIDENCE = 0.9  # of each bound: failures are to be seen
AUDIT = 0.1
WINDOW = 500
TARGETS = {"hatespeech": 0.9, "isear": 0.85}
BUDGET = 0.25
ORDERS: tuple[Order, ...] = ("shuffled", "label")
COLUMNS = (
    "data set", "order", "aim", "calls", "agreement", "reached",
    "lower bound failed", "upper bound failed", "windows failed",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What one replay came to; `failed` names the bounds that were wrong at some moment."""

    agreement: float
    calls: int
    windows: int
    failed: frozenset[str]
    bad_windows: int


def accepted(
    decisions: Sequence[Decision], stream: Sequence[Item]
) -> Iterator[tuple[float, bool, bool]]:
    """In stream order, each answer's chance to be audited, whether it was, and is it right."""
    by_id = {decision.id: decision for decision in decisions}
    for item in stream:
        decision, answer = by_id[item.event.id], item.reference.expert
        if decision.reason == Reason.AUDIT:
            yield decision.propensity, True, decision.small_label == answer
        elif decision.reason == Reason.ACCEPTED and decision.propensity > 0:
            yield decision.propensity, False, decision.label == answer


def hold_against_truth(
    stream: Iterator[tuple[float, bool, bool]], least: float
) -> tuple[frozenset[str], int, int]:
    """Feed the audits to the evidence, and look at its bounds after each."""
    evidence = Evidence(least, CONFIDENCE, WINDOW)
    failed: set[str] = set()
    total = wrong = since = in_window = wrong_in_window = windows = bad_windows = 0
    for propensity, audited, right in stream:
        total, wrong, since = total + 1, wrong + (not right), since + 1
        in_window, wrong_in_window = in_window + 1, wrong_in_window + (not right)
        if not audited:
            continue
        exposed = (Exposure("linear", 0, since),)
        evidence.take([Audit("", "linear", 0, right, propensity, exposed)])
        since = 0
        known = evidence.total(EVERYTHING)
        assert known.accepted == total
        truth = 1 - wrong / total
        failed |= {"lower"} if known.lower > truth else set()
        failed |= {"upper"} if known.upper < truth else set()
        if in_window >= WINDOW:
            recent = evidence.recent(EVERYTHING)
            assert recent.accepted == in_window
            bad_windows += not recent.lower <= 1 - wrong_in_window / in_window <= recent.upper
            windows, in_window, wrong_in_window = windows + 1, 0, 0
    return frozenset(failed), windows, bad_windows


def one(seed: int, study: StudySet, order: Order, aim: float | None) -> Result:
    """Replay one order of a data set."""
    job = settings_of(
        study,
        {
            "levels": [{"kind": "linear", "features": dict(study.features)}],
            "target_agreement": aim,
            "budget": {"share": BUDGET} if aim is None else None,
            "policy": {
                "kind": "budgeted",
                "audit": AUDIT,
                "audit_calls": 1,
                "confidence": CONFIDENCE,
            },
            "flink": {"shards": 1},
            "seed": seed,
        },
    )
    stream = chosen(items(settings_of(study, {"policy": "paper"})), "all", order, seed)
    decisions, calls, _ = replay_stream(job, stream, parts_that_share())
    said = {decision.id: decision.label for decision in decisions}
    right = [said[item.event.id] == item.reference.expert for item in stream]
    failed, windows, bad = hold_against_truth(accepted(decisions, stream), job.least_audit_rate)
    return Result(statistics.mean(right), calls, windows, failed, bad)


def row(study: StudySet, order: Order, aim: float | None, results: Sequence[Result]) -> str:
    """A line of the table."""
    n = len(results)
    agreement = [100 * result.agreement for result in results]
    calls = [result.calls for result in results]
    windows = sum(result.windows for result in results)
    told = (
        f"{BUDGET:.0%} of the calls" if aim is None else f"{aim:.0%} agreement",
        f"{statistics.mean(calls):.0f} ± {statistics.stdev(calls):.0f}",
        f"{statistics.mean(agreement):.1f} ± {statistics.stdev(agreement):.1f}",
        "-" if aim is None else f"{sum(result.agreement >= aim for result in results)} of {n}",
        f"{sum('lower' in result.failed for result in results)} of {n}",
        f"{sum('upper' in result.failed for result in results)} of {n}",
        f"{sum(result.bad_windows for result in results)} of {windows}",
    )
    return "| " + " | ".join((study.name, order, *told)) + " |"


def main(data: Path, replays: int = 200, workers: int = 1) -> None:
    """Print a row for each data set, order and aim."""
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    sets = paper_sets(data.resolve())
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for name, target in TARGETS.items():
            for order, aim in product(ORDERS, (target, None)):
                run = partial(one, study=sets[name], order=order, aim=aim)
                results = list(pool.map(run, range(replays)))
                print(row(sets[name], order, aim, results), flush=True)


if __name__ == "__main__":
    typer.run(main)

"""Replays the three real data sets with recorded GPT-3.5 answers, over seeds; prints a table.

    python -m benchmarks.real_runs DATA_FOLDER [--flink | --paper] [--seeds 4]

DATA_FOLDER is that of recorded.py. Seed 0 is the order of the file, the others are shuffles of it.
`--flink` runs seed 0 as a Flink job beside its replay, and prints the ratio of their times.
`--paper` replays the paper's policy at some values of mu, the same for all data sets, and beside
each the budgeted one on the same levels with exactly as many calls as the paper's took.
"""

from __future__ import annotations

import argparse
import secrets
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.recorded import SETS, DataSet, read, write
from flink_job.evaluation import Evaluation
from flink_job.outcome import Outcome
from flink_job.replay import run_replay
from flink_job.run import run
from flink_job.settings import JobSettings

WORKERS = 2
MUS = (0.0002, 0.0004, 0.0006, 0.002)
PAPER: dict[str, Any] = {
    # the paper's logistic regression: words alone, no replay; a release after every cache of 8
    "levels": [{"kind": "linear", "features": {"words": 1, "characters": None}, "replay": 0}],
    "learning": {"release_every": 8, "release_growth": 0},
}


COLUMNS = (
    "calls", "agreement", "accuracy", "macro-F1", "F1 of rare", "expert acc.", "majority acc.",
)  # fmt: skip


def job(data: DataSet, source: Path, out: Path, seed: int, **changes: Any) -> JobSettings:
    """The job of one row of the table: defaults, but for what the data set needs."""
    content: dict[str, Any] = {
        "task": {
            "name": data.name,
            "labels": data.labels,
            "positive": data.positive,
            "prompt": "Not sent: the answers are recorded.",
        },
        "source": {"path": source, "fields": {"label": "label"}},
        "sink": {"path": out},
        "levels": [{"kind": "linear", "features": {"characters": data.characters}}],
        "expert": {"kind": "recorded", "column": "expert"},
        "seed": seed,
    }
    return JobSettings.model_validate(content | changes)


def one(data: DataSet, seed: int, folder: Path, changes: dict[str, Any]) -> Evaluation:
    """Replay one data set once."""
    with tempfile.TemporaryDirectory() as scratch:
        source = write(read(folder, data, seed), Path(scratch) / f"{data.name}.csv.gz")
        return run_replay(job(data, source, Path(scratch) / "out", seed, **changes)).evaluation


def pair(data: DataSet, seed: int, folder: Path, mu: float) -> tuple[Evaluation, Evaluation]:
    """The paper's policy, and the budgeted one on the same levels with as many calls."""
    paper = one(data, seed, folder, PAPER | {"policy": {"kind": "paper", "mu": mu}})
    return paper, one(data, seed, folder, PAPER | {"budget": {"calls": paper.calls}})


def run_on_flink(settings: JobSettings) -> Evaluation:
    """Run a job to the end of its source, and see that no event got lost or was decided twice."""
    outcome = run(settings, secrets.token_hex(4), lambda _: None)
    assert isinstance(outcome, Outcome)
    assert outcome.evaluation.delivery.complete
    return outcome.evaluation


def flink(data: DataSet, calls: int, folder: Path) -> Evaluation:
    """Run one data set once as a Flink job."""
    with tempfile.TemporaryDirectory() as scratch:
        source, out = folder / f"{data.name}.csv.gz", Path(scratch) / "out"
        return run_on_flink(job(data, source, out, 0, budget={"calls": calls}))


def figures(result: Evaluation) -> dict[str, float]:
    """The numbers of a row, in percent."""
    quality = result.quality
    assert quality.cascade is not None
    assert quality.agreement is not None
    assert quality.expert_alone is not None
    assert quality.majority is not None
    row = {
        "calls": float(result.calls),
        "agreement": 100 * quality.agreement.share,
        "accuracy": 100 * quality.cascade.accuracy.share,
        "macro-F1": 100 * quality.cascade.macro_f1,
        "expert acc.": 100 * quality.expert_alone.accuracy.share,
        "majority acc.": 100 * quality.majority.accuracy.share,
    }
    if quality.cascade.positive is not None:
        row["F1 of rare"] = 100 * quality.cascade.positive.f1
    return row


def spread(values: Iterable[float]) -> str:
    """Mean and standard deviation over seeds."""
    numbers = list(values)
    mean = f"{statistics.mean(numbers):.1f}"
    return mean if len(numbers) == 1 else f"{mean} ± {statistics.stdev(numbers):.1f}"


def main() -> None:
    """Run everything and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--flink", action="store_true")
    parser.add_argument("--paper", action="store_true")
    options = parser.parse_args()
    print("| data set | run |", " | ".join(COLUMNS), "| s |")
    print("|---" * (len(COLUMNS) + 3) + "|")
    with ProcessPoolExecutor(WORKERS) as pool:
        for data in SETS:
            if options.paper:
                beside_paper(data, options, pool)
            else:
                at_budgets(data, options, pool)


def at_budgets(data: DataSet, options: argparse.Namespace, pool: ProcessPoolExecutor) -> None:
    """Rows of the default policy at the paper's budgets."""
    for calls in data.calls:
        budget = {"budget": {"calls": calls}}
        jobs = [pool.submit(one, data, s, options.data, budget) for s in range(options.seeds)]
        show(data.name, f"replay, {options.seeds} seeds", [job.result() for job in jobs])
        if options.flink:
            job_run = flink(data, calls, options.data)
            show(data.name, "Flink, seed 0", [job_run])
            ratio = job_run.wall_s / one(data, 0, options.data, budget).wall_s
            print(f"<!-- {data.name} {calls}: job / replay time = {ratio:.1f} -->")


def beside_paper(data: DataSet, options: argparse.Namespace, pool: ProcessPoolExecutor) -> None:
    """Rows of the paper's policy, each with the budgeted one beside it."""
    for mu in MUS:
        jobs = [pool.submit(pair, data, s, options.data, mu) for s in range(options.seeds)]
        paper, budgeted = zip(*(job.result() for job in jobs), strict=True)
        show(data.name, f"paper, mu {mu}", paper)
        show(data.name, "budgeted, as many calls", budgeted)


def show(name: str, what: str, runs: Sequence[Evaluation]) -> None:
    """Print one row."""
    rows = [figures(run) for run in runs]
    cells = [
        spread(row[column] for row in rows) if column in rows[0] else "-" for column in COLUMNS
    ]
    seconds = spread(run.wall_s for run in runs)
    print(f"| {name} | {what} |", " | ".join(cells), f"| {seconds} |", flush=True)


if __name__ == "__main__":
    main()

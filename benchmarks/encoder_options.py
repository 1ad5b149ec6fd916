"""Replays the real data sets with one option of the encoder level or of its cascade at a time.

    python benchmarks/encoder_options.py exits|precision DATA_FOLDER MODEL
        [--sets isear ...] [--budgets low middle high] [--seeds 2]

`exits` varies the risk at which an event may leave at the linear level, `precision` that of the
encoder's graph. Data, seeds, budgets and remembered embeddings are as in encoder_runs.py;
`precision` also measures the CPU time of a text under each, by turns, on one core.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from encoder_runs import BUDGETS, COLUMNS, Case, count, encoder, line, one, ordered
from encoder_runs import remember_embeddings as remember
from real_runs import SETS, DataSet

from operators.levels.encoder.session import open_encoder
from operators.settings import EncoderSettings

RISKS = (0.0, 0.01, 0.02, 0.05, 0.1)
PRECISIONS = ("fp32", "int8")
TIMED_TEXTS, ROUNDS = 400, 5


def variants(option: str) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """What each value of an option changes in the job, and in its encoder level."""
    if option == "exits":
        policies = {r: {"kind": "budgeted", "exit_risk": r} for r in RISKS}
        return {f"exit_risk {r}": ({"policy": policy}, {}) for r, policy in policies.items()}
    return {precision: ({}, {"precision": precision}) for precision in PRECISIONS}


def cases(data: DataSet, options: argparse.Namespace, rows: int) -> list[Case]:
    """One for each budget and value of the option."""
    linear = {"kind": "linear", "features": {"characters": data.characters}}
    everything = count(options.data / f"{data.name}.csv.gz")
    return [
        Case(
            name,
            round(calls * rows / everything),
            job | {"levels": [linear, encoder(data, options.model, **level)]},
        )
        for budget, calls in zip(BUDGETS, data.calls, strict=True)
        if budget in options.budgets
        for name, (job, level) in variants(options.option).items()
    ]


def rows_of_table(data: DataSet, options: argparse.Namespace) -> None:
    """Replay and print one row for each case."""
    with tempfile.TemporaryDirectory() as scratch:
        files = [ordered(data, options.data, seed, Path(scratch)) for seed in range(options.seeds)]
        for case in cases(data, options, count(files[0])):
            runs = [one(data, case, seed, file, scratch) for seed, file in enumerate(files)]
            print(line(data.name, case, runs), flush=True)


def times(data: DataSet, options: argparse.Namespace) -> None:
    """Print the CPU time of a text under each precision, by turns."""
    csv.field_size_limit(1 << 26)
    with gzip.open(options.data / f"{data.name}.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:TIMED_TEXTS]
    texts = [row["text"] for row in rows]
    opened = {
        precision: open_encoder(
            EncoderSettings.model_validate(encoder(data, options.model, precision=precision))
        )
        for precision in PRECISIONS
    }
    milliseconds: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for _ in range(ROUNDS):
        for precision, chosen in opened.items():
            began_s = time.process_time()
            chosen.embed(texts, {})
            milliseconds[precision].append(1e3 * (time.process_time() - began_s) / len(texts))
    tokens = statistics.mean(map(len, opened["fp32"].tokens(texts)))
    print(f"{data.name}, {tokens:.0f} tokens a text: {spread(milliseconds)}", flush=True)


def spread(milliseconds: dict[str, list[float]]) -> str:
    """Median time under each precision, and the median of their ratio."""
    medians = [f"{name} {np.median(times):.2f} ms" for name, times in milliseconds.items()]
    pairs: Sequence[tuple[float, ...]] = list(zip(*milliseconds.values(), strict=True))
    ratio = np.median([full / reduced for full, reduced in pairs])
    return f"{', '.join(medians)}, ratio {ratio:.2f}"


def main() -> None:
    """Run everything and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("option", choices=["exits", "precision"])
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--sets", nargs="+", default=["isear", "hatespeech"])
    parser.add_argument("--budgets", nargs="+", default=list(BUDGETS), choices=BUDGETS)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    chosen = [data for name in options.sets for data in SETS if data.name == name]
    if options.option == "precision":
        for data in chosen:
            times(data, options)
    remember()
    print("| data set | cascade |", " | ".join(COLUMNS), "| answered by, % |")
    print("|---" * (len(COLUMNS) + 3) + "|", flush=True)
    for data in chosen:
        rows_of_table(data, options)


if __name__ == "__main__":
    main()

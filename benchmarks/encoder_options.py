"""Replays the real data sets with one option of the encoder level or of its cascade at a time.

    python -m benchmarks.encoder_options DATA_FOLDER MODEL exits|pooling|precision
        [--sets isear ...] [--budgets low middle high] [--seeds 2] [--cache FOLDER]

`exits` varies the risk at which an event may leave at the linear level, `pooling` the layers that
the encoder's head reads, `precision` the numbers of its graph. Data, seeds, budgets and remembered
embeddings are as in encoder_runs.py; `precision` also measures the CPU time of a text under each,
by turns, on one core.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from benchmarks.encoder_runs import (
    Case,
    arguments,
    calls_at,
    encoder,
    line,
    linear,
    replayed,
    show_header,
)
from benchmarks.recorded import DataSet, named, read
from operators.levels.encoder.session import open_encoder
from operators.settings import EncoderSettings, Pooling

RISKS = (0.0, 0.01, 0.02, 0.05, 0.1)
PRECISIONS = ("fp32", "int8")
TIMED_TEXTS, ROUNDS = 400, 5


def variants(option: str) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """What each value of an option changes in the job, and in its encoder level."""
    if option == "exits":
        policies = {r: {"kind": "budgeted", "exit_risk": r} for r in RISKS}
        return {f"exit_risk {r}": ({"policy": policy}, {}) for r, policy in policies.items()}
    values = {"pooling": get_args(Pooling), "precision": PRECISIONS}[option]
    return {value: ({}, {option: value}) for value in values}


def cases(data: DataSet, options: argparse.Namespace) -> list[Case]:
    """One for each budget and value of the option."""
    return [
        Case(name, calls, job | {"levels": [linear(data), encoder(data, options.model, **level)]})
        for calls in calls_at(data, options)
        for name, (job, level) in variants(options.option).items()
    ]


def rows_of_table(data: DataSet, options: argparse.Namespace) -> None:
    """Replay and print one row for each case."""
    for case, runs in replayed(data, options, cases(data, options)):
        print(line(data, case, runs), flush=True)


def times(data: DataSet, options: argparse.Namespace) -> None:
    """Print the CPU time of a text under each precision, by turns."""
    texts = [row["text"] for row in read(options.data, data, most=TIMED_TEXTS)]
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
    parser = arguments(__doc__)
    parser.add_argument("option", choices=["exits", "pooling", "precision"])
    options = parser.parse_args()
    chosen = named(options.sets)
    if options.option == "precision":
        for data in chosen:
            times(data, options)
    show_header()
    for data in chosen:
        rows_of_table(data, options)


if __name__ == "__main__":
    main()

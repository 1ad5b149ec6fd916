"""Replays the real data sets with and without encoders between the linear level and the expert.

    python benchmarks/encoder_runs.py DATA_FOLDER MODEL [--large MODEL] [--sets isear ...]
        [--budgets low middle high] [--seeds 2] [--flink]

MODEL is the folder of a base model; `--large` adds a cascade of four levels, with a second encoder
(`fetch_mpnet.py` gets one). Data and seeds are as in real_runs.py, imdb cut to its first 3000 rows,
and the calls scaled with it. A text's embedding is computed once for all runs of a data set: the
frozen encoder says the same each time, up to the last digits. So no times are shown here; `--flink`
runs seed 0 as a Flink job, with every embedding computed where it is asked for.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import random
import secrets
import statistics
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from real_runs import SETS, DataSet, figures, job, spread

from flink_job.evaluation import Evaluation
from flink_job.replay import run_replay
from flink_job.run import run
from operators.levels.encoder import build
from operators.levels.encoder.artifact import obtain
from operators.levels.encoder.session import HEAD_BIAS, HEAD_WEIGHTS, Encoder, FloatArray, Weights
from operators.levels.regression import softmax
from operators.settings import EncoderSettings

WORKERS = 2
ROWS = {"imdb": 3000}
TOKENS = {"imdb": 256}
BUDGETS = ("low", "middle", "high")  # of the three at which the paper reports a data set
COLUMNS = ("calls", "agreement", "accuracy", "macro-F1", "F1 of rare")


class RememberingEncoder(Encoder):
    """Computes each text's embedding once; right only while no layer is fine-tuned."""

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__(obtain(settings), settings)
        self._known: dict[str, FloatArray] = {}

    def embed(self, texts: Sequence[str], layers: Weights) -> FloatArray:
        """Embeddings, remembered ones among them."""
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        self._known |= zip(new, super().embed(new, layers), strict=True)
        return np.array([self._known[text] for text in texts]).reshape(-1, self.dimension)

    def classify(self, texts: Sequence[str], weights: Weights, labels: int) -> FloatArray:
        """Probabilities by the head, which is cheap."""
        head, bias = weights[HEAD_WEIGHTS].numpy(), weights[HEAD_BIAS].numpy()
        return softmax(self.embed(texts, {}) @ head + bias).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    calls: int
    changes: dict[str, Any]


def ordered(data: DataSet, source: Path, seed: int, folder: Path) -> Path:
    """The rows of a data set that are used, shuffled for every seed but 0."""
    csv.field_size_limit(1 << 26)
    with gzip.open(source / f"{data.name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    rows = rows[: ROWS.get(data.name)]
    if seed:
        random.Random(seed).shuffle(rows)
    target = folder / f"{seed}-{data.name}.csv.gz"
    with gzip.open(target, "wt", encoding="utf-8", newline="", compresslevel=1) as file:
        csv.writer(file).writerows([header, *rows])
    return target


def encoder(data: DataSet, model: Path, **changes: Any) -> dict[str, Any]:
    """An encoder level for a data set."""
    plain = {"kind": "encoder", "model": str(model), "max_tokens": TOKENS.get(data.name, 128)}
    return plain | changes


def cases(data: DataSet, options: argparse.Namespace, rows: int) -> list[Case]:
    """Without and with encoders, at the chosen ones of the paper's shares of calls."""
    linear = {"kind": "linear", "features": {"characters": data.characters}}
    small = encoder(data, options.model)
    cascades = {"linear → expert": [linear], "linear → encoder → expert": [linear, small]}
    if options.large:
        large = encoder(data, options.large, name="large")
        cascades["linear → encoder → large → expert"] = [linear, small, large]
    everything = count(options.data / f"{data.name}.csv.gz")
    return [
        Case(name, round(calls * rows / everything), {"levels": levels})
        for budget, calls in zip(BUDGETS, data.calls, strict=True)
        if budget in options.budgets
        for name, levels in cascades.items()
    ]


def remember_embeddings() -> None:
    """Have encoders of this process compute each text's embedding once."""
    known: dict[EncoderSettings, Encoder] = {}

    def remembering(settings: EncoderSettings) -> Encoder:
        return known.setdefault(settings, known.get(settings) or RememberingEncoder(settings))

    build.open_encoder = remembering  # type: ignore[assignment]  # for this process alone


def replays(data: DataSet, options: argparse.Namespace) -> list[str]:
    """The rows of the table of one data set."""
    remember_embeddings()
    with tempfile.TemporaryDirectory() as scratch:
        files = [ordered(data, options.data, seed, Path(scratch)) for seed in range(options.seeds)]
        return [
            line(data.name, case, [one(data, case, s, f, scratch) for s, f in enumerate(files)])
            for case in cases(data, options, count(files[0]))
        ]


def one(data: DataSet, case: Case, seed: int, source: Path, scratch: str) -> Evaluation:
    """Replay one data set once."""
    out = Path(scratch) / secrets.token_hex(4)
    settings = job(data, source, out, seed, budget={"calls": case.calls}, **case.changes)
    return run_replay(settings).evaluation


def flink(data: DataSet, options: argparse.Namespace) -> None:
    """Run seed 0 as Flink jobs."""
    with tempfile.TemporaryDirectory() as scratch:
        source = ordered(data, options.data, 0, Path(scratch))
        for case in cases(data, options, count(source)):
            out = Path(scratch) / secrets.token_hex(4)
            settings = job(data, source, out, 0, budget={"calls": case.calls}, **case.changes)
            outcome = run(settings, secrets.token_hex(4), lambda _: None)
            assert outcome is not None
            assert outcome.evaluation.delivery.complete
            note = f", Flink, {outcome.evaluation.wall_s:.0f} s"
            print(line(data.name, case, [outcome.evaluation], note), flush=True)


def count(source: Path) -> int:
    """Rows of a data set."""
    csv.field_size_limit(1 << 26)
    with gzip.open(source, "rt", encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def line(name: str, case: Case, runs: Sequence[Evaluation], note: str = "") -> str:
    """One row of the table."""
    values = [figures(run) for run in runs]
    cells = [spread(v[c] for v in values) if c in values[0] else "-" for c in COLUMNS]
    shares = " / ".join(
        f"{100 * statistics.mean(run.by_level[level].share for run in runs):.0f}"
        for level in range(len(runs[0].by_level))
    )
    return f"| {name} | {case.name}{note} | {' | '.join(cells)} | {shares} |"


def main() -> None:
    """Run everything and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--large", type=Path)
    parser.add_argument("--sets", nargs="+", default=["isear", "hatespeech", "imdb"])
    parser.add_argument("--budgets", nargs="+", default=list(BUDGETS), choices=BUDGETS)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--flink", action="store_true")
    options = parser.parse_args()
    chosen = [data for name in options.sets for data in SETS if data.name == name]
    print("| data set | cascade |", " | ".join(COLUMNS), "| answered by, % |")
    print("|---" * (len(COLUMNS) + 3) + "|", flush=True)
    if options.flink:
        for data in chosen:
            flink(data, options)
        return
    with ProcessPoolExecutor(WORKERS) as pool:
        jobs = [pool.submit(replays, data, options) for data in chosen]
        for made in jobs:
            print("\n".join(made.result()), flush=True)


if __name__ == "__main__":
    main()

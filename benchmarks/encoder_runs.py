"""Replays the real data sets with and without encoders between the linear level and the expert.

    python -m benchmarks.encoder_runs DATA_FOLDER MODEL [--large MODEL] [--sets isear ...]
        [--budgets low middle high] [--seeds 2] [--cache FOLDER] [--flink]

MODEL is the folder of a base model; `--large` adds a cascade of four levels, with a second encoder
(`fetch_mpnet.py` gets one). Data and seeds are as in real_runs.py, imdb cut to its first 3000 rows,
and the calls scaled with it. A text's embedding is computed once and kept in the cache: the frozen
encoder says the same each time, up to the last digits. So no times are shown here; `--flink` runs
seed 0 as a Flink job, with every embedding computed where it is asked for.
"""

from __future__ import annotations

import argparse
import secrets
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.real_runs import WORKERS, figures, job, run_on_flink, spread
from benchmarks.recorded import DataSet, named, read, write
from benchmarks.study.embeddings import remembering
from flink_job.evaluation import Evaluation
from flink_job.replay import run_replay
from flink_job.settings import JobSettings
from operators.levels.encoder import build
from operators.levels.encoder.session import Encoder, open_encoder
from operators.settings import EncoderSettings

BUDGETS = ("low", "middle", "high")  # of the three at which the paper reports a data set
COLUMNS = ("calls", "agreement", "accuracy", "macro-F1", "F1 of rare")


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    calls: int
    changes: dict[str, Any]


def arguments(description: str | None) -> argparse.ArgumentParser:
    """What the scripts on the encoder level have in common."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--sets", nargs="+", default=["isear", "hatespeech"])
    parser.add_argument("--budgets", nargs="+", default=list(BUDGETS), choices=BUDGETS)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path("out/embeddings"))
    return parser


def sources(data: DataSet, options: argparse.Namespace, scratch: str) -> list[Path]:
    """The source of each seed."""
    return [
        write(
            read(options.data, data, seed, data.encoded),
            Path(scratch) / f"{seed}-{data.name}.csv.gz",
        )
        for seed in range(options.seeds)
    ]


def calls_at(data: DataSet, options: argparse.Namespace) -> list[int]:
    """The chosen budgets, scaled to the rows that are used."""
    everything = len(read(options.data, data))
    share = min(data.encoded or everything, everything) / everything
    return [
        round(calls * share)
        for budget, calls in zip(BUDGETS, data.calls, strict=True)
        if budget in options.budgets
    ]


def linear(data: DataSet) -> dict[str, Any]:
    """The linear level for a data set."""
    return {"kind": "linear", "features": {"characters": data.characters}}


def encoder(data: DataSet, model: Path, **changes: Any) -> dict[str, Any]:
    """An encoder level for a data set."""
    return {"kind": "encoder", "model": str(model), "max_tokens": data.tokens} | changes


def cases(data: DataSet, options: argparse.Namespace) -> list[Case]:
    """Without and with encoders, at the chosen ones of the paper's shares of calls."""
    first, small = linear(data), encoder(data, options.model)
    cascades = {"linear → expert": [first], "linear → encoder → expert": [first, small]}
    if options.large:
        large = encoder(data, options.large, name="large")
        cascades["linear → encoder → large → expert"] = [first, small, large]
    return [
        Case(name, calls, {"levels": levels})
        for calls in calls_at(data, options)
        for name, levels in cascades.items()
    ]


@contextmanager
def remembered(data: DataSet, options: argparse.Namespace) -> Iterator[None]:
    """Have frozen encoders embed each text once, for this run and those that come after it."""
    texts = [row["text"] for row in read(options.data, data, most=data.encoded)]

    def opened(settings: EncoderSettings) -> Encoder:
        if settings.top_layers:
            return open_encoder(settings)
        made = remembering(settings, options.cache, data.name)
        made.fill(texts)
        return made

    with mock.patch.object(build, "open_encoder", opened):
        yield


def replays(data: DataSet, options: argparse.Namespace) -> list[str]:
    """The rows of the table of one data set."""
    return [line(data, case, runs) for case, runs in replayed(data, options, cases(data, options))]


def replayed(
    data: DataSet, options: argparse.Namespace, chosen: Sequence[Case]
) -> Iterator[tuple[Case, list[Evaluation]]]:
    """Replay one case after the other, each on the sources of all seeds."""
    with tempfile.TemporaryDirectory() as scratch, remembered(data, options):
        files = sources(data, options, scratch)
        for case in chosen:
            yield case, over_seeds(data, case, files)


def over_seeds(data: DataSet, case: Case, files: Sequence[Path]) -> list[Evaluation]:
    """Replay a case on the source of each seed."""
    return [
        run_replay(settings_of(data, case, seed, file)).evaluation
        for seed, file in enumerate(files)
    ]


def settings_of(data: DataSet, case: Case, seed: int, source: Path) -> JobSettings:
    """The job of one run."""
    out = source.parent / secrets.token_hex(4)
    return job(data, source, out, seed, budget={"calls": case.calls}, **case.changes)


def flink(data: DataSet, options: argparse.Namespace) -> None:
    """Run seed 0 as Flink jobs."""
    with tempfile.TemporaryDirectory() as scratch:
        source = sources(data, options, scratch)[0]
        for case in cases(data, options):
            made = run_on_flink(settings_of(data, case, 0, source))
            print(line(data, case, [made], f", Flink, {made.wall_s:.0f} s"), flush=True)


def line(data: DataSet, case: Case, runs: Sequence[Evaluation], note: str = "") -> str:
    """One row of the table."""
    values = [figures(run) for run in runs]
    cells = [spread(v[c] for v in values) if c in values[0] else "-" for c in COLUMNS]
    shares = " / ".join(
        f"{100 * statistics.mean(run.by_level[level].share for run in runs):.0f}"
        for level in range(len(runs[0].by_level))
    )
    return f"| {data.name} | {case.name}{note} | {' | '.join(cells)} | {shares} |"


def show_header(*more: str) -> None:
    """Print the head of a table with these columns behind those of `line`."""
    print("| data set | cascade |", " | ".join((*COLUMNS, "answered by, %", *more)), "|")
    print("|---" * (len(COLUMNS) + len(more) + 3) + "|", flush=True)


def main() -> None:
    """Run everything and print Markdown."""
    parser = arguments(__doc__)
    parser.set_defaults(sets=["isear", "hatespeech", "imdb"])
    parser.add_argument("--large", type=Path)
    parser.add_argument("--flink", action="store_true")
    options = parser.parse_args()
    chosen = named(options.sets)
    show_header()
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

"""What a shift costs: the same events in another order, and a topic that changes under way.

    python -m benchmarks.study.shift DATA FOLDER [--model MODEL] [--method NAME ...]

On the paper's data sets: the accuracy lost, averaged over the budgets as in the paper's Table 2,
where texts come in the order of their length (imdb) or one label after the other (hatespeech),
against shuffled streams of the same events. On generated posts, whose topics and vocabulary change
in the middle: the same loss, and how long the cascade takes to recover.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated

import typer

from benchmarks.study.cells import Cell, Result, read_result
from benchmarks.study.methods import parse_method
from benchmarks.study.pool import embed_all, missing, run_all
from benchmarks.study.running import Context, replay_stream, scenario_of, stream_of
from benchmarks.study.sets import StudySet, paper_sets, settings_of
from benchmarks.study.streams import Order
from flink_job.demo.posts import LABELS, write

SHIFTS: dict[str, Order] = {"imdb": "length", "hatespeech": "label"}
_POSTS = 8000
_POSTS_SHARES = (0.1, 0.2, 0.4)
_BLOCK = 200
_BEFORE = 1000  # events whose agreement is what has to be recovered
_NEAR = 0.01


def posts(folder: Path, seed: int) -> StudySet:
    """A generated stream: its topics change in the middle."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"posts-{seed}.jsonl"
    write(source, _POSTS, seed)
    task = {"name": f"posts-{seed}", "labels": list(LABELS), "positive": "abusive", "prompt": "-"}
    job = {
        "task": task,
        "source": {"path": str(source), "fields": {"key": "author", "label": "label"}},
        "sink": {"path": "unused"},
        "expert": {"kind": "recorded", "column": "expert"},
    }
    return StudySet(f"posts-{seed}", job)


def recovery(cell: Cell, context: Context) -> int | None:
    """Events after the shift until a block agrees as before it, within a point; None: never."""
    stream = stream_of(cell, context)
    scenario = scenario_of(cell, context, len(stream))
    setup = parse_method(cell.method).set_up(scenario, 0.0)
    budget = {"calls": scenario.calls, "events": len(stream)}
    changes = {"learning": {"gate": None}, **setup.changes, "seed": cell.seed, "budget": budget}
    job = settings_of(context.sets[cell.set], {"levels": list(scenario.levels), **changes})
    decisions, _, _ = replay_stream(job, stream, setup.parts)
    said = {decision.id: decision.label for decision in decisions}
    right = [said[item.event.id] == item.reference.expert for item in stream]
    shift = len(right) // 2
    before = mean(right[shift - _BEFORE : shift])
    for start in range(shift, len(right), _BLOCK):
        if mean(right[start : start + _BLOCK]) >= before - _NEAR:
            return start - shift
    return None


def loss(results: Sequence[Result], plain: Order, shifted: Order, seeds: int) -> str:
    """Accuracy and agreement lost, in points: mean over budgets, spread over seeds."""
    told = []
    for figure in ("accuracy", "agreement"):
        by_seed = [
            100
            * (
                mean(getattr(r.figures, figure) for r in results if _is(r, plain, seed))
                - mean(getattr(r.figures, figure) for r in results if _is(r, shifted, seed))
            )
            for seed in range(seeds)
        ]
        told.append(f"{mean(by_seed):.2f} ± {stdev(by_seed) if seeds > 1 else 0:.2f}")
    return " | ".join(told)


def _is(result: Result, order: Order, seed: int) -> bool:
    return result.cell.order == order and result.cell.seed == seed


def main(
    data: Path,
    out: Path,
    model: list[Path] | None = None,
    method: Annotated[list[str] | None, typer.Option()] = None,
    seeds: int = 4,
    workers: int = 1,
) -> None:
    """Run what is not there yet, and print Markdown."""
    generated = [posts(out / "posts", seed) for seed in range(seeds)]
    sets = paper_sets(data.resolve()) | {made.name: made for made in generated}
    context = Context(sets, [str(folder.resolve()) for folder in model or []], out / "embeddings")
    levels = "both" if model else "linear"

    def cells(name: str, order: Order, text: str, seed: int) -> list[Cell]:
        shares = _POSTS_SHARES if name.startswith("posts") else sets[name].shares
        return [Cell(name, "all", order, levels, text, round(s, 4), seed) for s in shares]

    print("| stream | shift | method | accuracy lost | agreement lost | events to recover |")
    print("|---|---|---|---|---|---|")
    for text in method or ["budgeted"]:
        for name, shifted in SHIFTS.items():
            orders: tuple[Order, Order] = ("shuffled", shifted)
            due = [c for o in orders for seed in range(seeds) for c in cells(name, o, text, seed)]
            told = loss(_results(due, context, out, workers), "shuffled", shifted, seeds)
            print(f"| {name} | {shifted} | {text} | {told} | |", flush=True)
        due = [
            cell
            for seed, made in enumerate(generated)
            for order in ("shuffled", "source")
            for cell in cells(made.name, order, text, seed)
        ]
        told = loss(_results(due, context, out, workers), "shuffled", "source", seeds)
        waits = [
            recovery(Cell(made.name, "all", "source", levels, text, share, seed), context)
            for seed, made in enumerate(generated)
            for share in _POSTS_SHARES[:1]
        ]
        print(f"| posts | topic | {text} | {told} | {', '.join(map(str, waits))} |", flush=True)


def _results(cells: list[Cell], context: Context, out: Path, workers: int) -> list[Result]:
    due = missing(cells, context, out, keep_stale=False)
    embed_all(due, context)
    run_all(due, context, out, workers, lambda _: None)
    results = [read_result(cell.path(out)) for cell in cells]
    return [result for result in results if result is not None]


if __name__ == "__main__":
    typer.run(main)

"""Average regret of the learned policy against the best fixed one, by the length of the stream.

    python -m benchmarks.study.regret DATA FOLDER [--model MODEL] [--set NAME ...]

For each length T the default policy runs over T events, with a budget of the same share of them.
A fixed policy never learns: one release, and one threshold on its doubt, which sends as many
events to the expert as the learned policy did. Two are looked at, both chosen with all T events in
view: the release with which the learned policy ended, and one that was taught the expert's answer
to every event (Theorem 3.2's best fixed policy in hindsight). Both have learned from the very
events that they are judged on, which flatters them, and so overstates the regret.

Regret is the learned policy's disagreements with the expert less those of the fixed one, an event.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated

import msgspec
import numpy as np
import typer
from matplotlib.figure import Figure

from benchmarks.study.cells import Cell
from benchmarks.study.pool import embed_all
from benchmarks.study.running import Context, replay_stream, scenario_of, stream_of
from benchmarks.study.sets import paper_sets, settings_of
from benchmarks.study.streams import Item
from flink_job.settings import JobSettings
from model_store.store import ModelStore
from operators.assembly import Parts
from operators.levels.port import under
from operators.policy import calibration, ensemble
from operators.policy.port import PREFIX

_SHORTEST = 250
_SIZE_INCHES = (5.5, 4.0)
_SHARES = {"hatespeech": 0.25, "isear": 0.4, "imdb": 0.2, "fever": 0.5}


class Regret(msgspec.Struct, frozen=True):
    """Of one run over so many events, in disagreements an event."""

    set: str
    seed: int
    events: int
    to_own_end: float
    to_hindsight: float


def lengths(most: int) -> list[int]:
    """Doubling, up to the whole stream."""
    some = []
    while most >= _SHORTEST:
        some.append(most)
        most //= 2
    return sorted(some)


def run(cell: Cell, context: Context, events: int) -> Regret:
    """Run the learned policy over the first events of a stream, and judge it."""
    stream = list(stream_of(cell, context))[:events]
    scenario = scenario_of(cell, context, events)
    changes = {"levels": list(scenario.levels), "seed": cell.seed, "learning": {"gate": None}}

    def job(calls: int) -> JobSettings:
        budget = {"calls": calls, "events": events}
        return settings_of(context.sets[cell.set], {**changes, "budget": budget})

    learned = job(scenario.calls)
    decisions, calls, store = replay_stream(learned, stream, scenario.parts)
    truth = {item.event.id: item.reference.expert for item in stream}
    wrong = sum(decision.label != truth[decision.id] for decision in decisions)
    _, _, taught = replay_stream(job(events), stream, scenario.parts)
    to_own_end, to_hindsight = (
        (wrong - fixed_disagreements(learned, made, stream, scenario.parts, calls)) / events
        for made in (store, taught)
    )
    return Regret(cell.set, cell.seed, events, to_own_end, to_hindsight)


def fixed_disagreements(
    job: JobSettings, store: ModelStore, stream: Sequence[Item], parts: Parts, calls: int
) -> int:
    """Wrong answers of a store's head, if the expert gets the events that it doubts the most."""
    head = store.head(job.task.name)
    assert head is not None
    tensors = store.load(job.task.name, head).tensors
    opinions = []
    for settings in job.levels:
        level = parts.level(settings, len(job.task.labels))
        level.swap(level.stage(under(level.name, tensors)))
        opinions.append(level.predict([item.event.text for item in stream]))
    weights = np.asarray(under(PREFIX, tensors)["ensemble"], np.float64)
    together = ensemble.combine(opinions, weights)
    labels = np.array([job.task.labels.index(item.reference.expert or "") for item in stream])
    wrong = together.argmax(axis=1) != labels
    accepted = np.argsort(-calibration.doubt(together), kind="stable")[calls:]
    return int(wrong[accepted].sum())


def slope(points: Sequence[tuple[int, float]]) -> float:
    """Exponent of a power law through the points, by least squares on logarithms."""
    positive = [(events, regret) for events, regret in points if regret > 0]
    x, y = np.log(np.array(positive, np.float64)).T
    return float(np.polyfit(x, y, 1)[0])


def rows(results: Sequence[Regret]) -> Iterator[str]:
    """Markdown, a line for each set and length, and the exponents of each set."""
    yield "| data set | events | runs | regret to its own last release | regret to hindsight |"
    yield "|---|---|---|---|---|"
    for (name, events), group in groupby(results, key=lambda made: (made.set, made.events)):
        some = list(group)
        cells = (_percent([getattr(r, what) for r in some]) for what in _WHAT)
        yield f"| {name} | {events} | {len(some)} | {' | '.join(cells)} |"
    for name, group in groupby(results, key=lambda made: made.set):
        some = list(group)
        exponents = [_exponents(some, what) for what in _WHAT]
        told = " | ".join(f"T^{mean(e):.2f} ± {_deviation(e):.2f}" for e in exponents)
        yield f"| {name} | falls as | | {told} |"


_WHAT = ("to_own_end", "to_hindsight")


def _exponents(results: Sequence[Regret], what: str) -> list[float]:
    """A slope for each seed."""
    by_seed: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for made in results:
        by_seed[made.seed].append((made.events, getattr(made, what)))
    return [slope(points) for points in by_seed.values()]


def _deviation(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def _percent(values: Sequence[float]) -> str:
    return f"{100 * mean(values):.2f} ± {100 * _deviation(values):.2f}"


def draw(results: Sequence[Regret], path: Path) -> None:
    """Average regret against length on logarithmic axes, beside 1/sqrt(T)."""
    figure = Figure(_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    for number, (name, group) in enumerate(groupby(results, key=lambda made: made.set)):
        some = list(group)
        events = sorted({r.events for r in some})
        for what, style in zip(_WHAT, ("-", ":"), strict=True):
            average = [mean(getattr(r, what) for r in some if r.events == t) for t in events]
            told = name if style == "-" else None
            axes.plot(events, average, style, marker="o", color=f"C{number}", label=told)
    reach = np.array([_SHORTEST, max(r.events for r in results)])
    axes.plot(reach, 0.1 * np.sqrt(_SHORTEST / reach), "k--", label="slope of 1/√T")
    axes.set(xscale="log", yscale="log", xlabel="events T", ylabel="average regret")
    axes.legend(fontsize="small")
    axes.set_title("solid: to its own last release; dotted: to hindsight", fontsize="small")
    figure.savefig(path, dpi=120)


def main(
    data: Path,
    out: Path,
    model: list[Path] | None = None,
    chosen_set: Annotated[list[str] | None, typer.Option("--set")] = None,
    seeds: int = 4,
    workers: int = 1,
) -> None:
    """Run everything; write regret.md and regret.png."""
    sets = {name: made for name, made in paper_sets(data.resolve()).items() if name in _SHARES}
    context = Context(sets, [str(folder.resolve()) for folder in model or []], out / "embeddings")
    levels = "both" if model else "linear"
    cells = [
        Cell(name, "all", "shuffled", levels, "budgeted", _SHARES[name], seed)
        for name in chosen_set or list(sets)
        for seed in range(seeds)
    ]
    embed_all(cells, context)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [
            pool.submit(run, cell, context, events)
            for cell in cells
            for events in lengths(len(stream_of(cell, context)))
        ]
        results = sorted((made.result() for made in jobs), key=lambda r: (r.set, r.events, r.seed))
    (out / "regret.md").write_text("\n".join(rows(results)) + "\n", encoding="utf-8")
    draw(results, out / "regret.png")


if __name__ == "__main__":
    typer.run(main)

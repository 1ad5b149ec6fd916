"""Average regret of the learned policy against the best fixed one, by the length of the stream.

    python -m benchmarks.study.regret DATA FOLDER [--model MODEL] [--set NAME ...]

For each length T the default policy runs over T events, with a budget of the same share of them.
A fixed policy never learns: one release, and one threshold on its doubt, which sends as many
events to the expert as the learned policy did. Two are looked at, both chosen with all T events in
view: the release with which the learned policy ended, and one that was taught the expert's answer
to every event (Theorem 3.2's best fixed policy in hindsight). Both have learned from the very
events that they are judged on, which flatters them, and so overstates the regret.

Regret is the learned policy's disagreements with the expert less those of the fixed one, an event.

With a model, regret is also taken in the terms of Theorem 3.1: in log loss over what is answered
without the expert, to a head of bounded weights on the last encoder's embeddings.
"""

from __future__ import annotations

import math
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

from benchmarks.study.bounded import RADII, fitted_cost, log_loss
from benchmarks.study.cells import Cell
from benchmarks.study.methods import Scenario
from benchmarks.study.pool import embed_all
from benchmarks.study.running import Context, replay_stream, scenario_of, stream_of
from benchmarks.study.sets import paper_sets, settings_of
from benchmarks.study.streams import Item
from flink_job.settings import JobSettings
from model_store.store import ModelStore
from operators.assembly import Parts
from operators.core.verdicts import EXPERT
from operators.levels.port import under
from operators.policy import calibration, ensemble
from operators.policy.port import PREFIX
from operators.records import Decision
from operators.settings import EncoderSettings

_SHORTEST = 250
_LINE = 2  # points
_SIZE_INCHES = (5.5, 4.0)
_SHARES = {"hatespeech": 0.25, "isear": 0.4, "imdb": 0.2, "fever": 0.5}


class Regret(msgspec.Struct, frozen=True):
    """Of one run over so many events, in disagreements an event.

    Parameters
    ----------
    to_bounded
        In log loss an event, for each of `RADII`; none without an encoder.
    """

    set: str
    seed: int
    events: int
    to_own_end: float
    to_hindsight: float
    to_bounded: tuple[float, ...]

    def all(self) -> tuple[float, ...]:
        """One figure for each column of the table."""
        return (self.to_own_end, self.to_hindsight, *self.to_bounded)


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
    to_bounded = _to_bounded(learned, decisions, stream, scenario)
    return Regret(cell.set, cell.seed, events, to_own_end, to_hindsight, to_bounded)


def _to_bounded(
    job: JobSettings, decisions: Sequence[Decision], stream: Sequence[Item], scenario: Scenario
) -> tuple[float, ...]:
    encoders = [level for level in job.levels if isinstance(level, EncoderSettings)]
    if not encoders:
        return ()
    encoder = scenario.encoder(encoders[-1])
    texts = [item.event.text for item in stream]
    embeddings = encoder.embed(texts, encoder.bind(encoder.artifact.trainable()))
    labels = np.array([job.task.labels.index(item.reference.expert or "") for item in stream])
    label_of = dict(zip((item.event.id for item in stream), labels.tolist(), strict=True))
    answered = [decision for decision in decisions if decision.level != EXPERT]
    given = np.array([decision.probabilities[label_of[decision.id]] for decision in answered])
    cost, deferred = float(log_loss(given).sum()), len(stream) - len(answered)
    best = (fitted_cost(embeddings, labels, deferred, radius) for radius in RADII)
    return tuple((cost - least) / len(stream) for least in best)


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
    """Exponent of a power law through the points above 0, by least squares on logarithms.

    NaN if there are fewer than two.
    """
    positive = [(events, regret) for events, regret in points if regret > 0]
    if len(positive) < _LINE:
        return math.nan
    x, y = np.log(np.array(positive, np.float64)).T
    return float(np.polyfit(x, y, 1)[0])


def rows(results: Sequence[Regret]) -> Iterator[str]:
    """Markdown, a line for each set and length, and the exponents of each set."""
    what = ["regret to its own last release", "regret to hindsight"]
    what += [f"in log loss, to a head of norm {r:g}" for r in RADII[: _bounded(results)]]
    yield f"| data set | events | runs | {' | '.join(what)} |"
    yield f"|---|---|---|{'---|' * len(what)}"
    for (name, events), group in groupby(results, key=lambda made: (made.set, made.events)):
        some = list(group)
        disagreements, costs = _columns(some)[:2], _columns(some)[2:]
        cells = [_told(column, 100, 2) for column in disagreements]
        cells += [_told(column, 1, 3) for column in costs]
        yield f"| {name} | {events} | {len(some)} | {' | '.join(cells)} |"
    for name, group in groupby(results, key=lambda made: made.set):
        told = (f"T^{_told(column, 1, 2)}" for column in zip(*_exponents(list(group)), strict=True))
        yield f"| {name} | falls as | | {' | '.join(told)} |"


def _bounded(results: Sequence[Regret]) -> int:
    return len(results[0].to_bounded)


def _columns(results: Sequence[Regret]) -> list[tuple[float, ...]]:
    return list(zip(*(made.all() for made in results), strict=True))


def _exponents(results: Sequence[Regret]) -> list[list[float]]:
    """For each seed the slopes of all columns."""
    by_seed: dict[int, list[Regret]] = defaultdict(list)
    for made in results:
        by_seed[made.seed].append(made)
    return [
        [slope([(r.events, r.all()[i]) for r in some]) for i in range(len(some[0].all()))]
        for some in by_seed.values()
    ]


def _told(values: Sequence[float], factor: float, digits: int) -> str:
    return f"{factor * mean(values):.{digits}f} ± {factor * _deviation(values):.{digits}f}"


def _deviation(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def draw(results: Sequence[Regret], path: Path) -> None:
    """Average regret against length on logarithmic axes, beside 1/sqrt(T)."""
    panels = ["disagreements", "log loss"] if _bounded(results) else ["disagreements"]
    wide, high = _SIZE_INCHES
    figure = Figure((wide * len(panels), high), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        columns = (0, 1) if panel == "disagreements" else (2, 3)
        for number, (name, group) in enumerate(groupby(results, key=lambda made: made.set)):
            some = list(group)
            events = sorted({r.events for r in some})
            for column, style in zip(columns, ("-", ":"), strict=True):
                average = [mean(r.all()[column] for r in some if r.events == t) for t in events]
                told = name if style == "-" else None
                axes.plot(events, average, style, marker="o", color=f"C{number}", label=told)
        reach = np.array([_SHORTEST, max(r.events for r in results)])
        top = 0.1 if panel == "disagreements" else 0.5
        axes.plot(reach, top * np.sqrt(_SHORTEST / reach), "k--", label="slope of 1/√T")
        axes.set(xscale="log", yscale="log", xlabel="events T", ylabel=f"average regret, {panel}")
        axes.legend(fontsize="small")
        axes.set_title(_TITLES[panel], fontsize="small")
    figure.savefig(path, dpi=120)


_TITLES = {
    "disagreements": "solid: to its own last release; dotted: to hindsight",
    "log loss": "to a head of norm 4 (solid), 8 (dotted)",
}


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

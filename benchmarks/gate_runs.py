"""What the promotion gate costs, and what it holds off; prints Markdown tables.

    python -m benchmarks.gate_runs DATA_FOLDER [--sets isear hatespeech] [--seeds 4] [--poison]

Without `--poison`: the runs of real_runs.py with the gate and without. With it: from 40 to 60 % of
the stream, the expert's answers are wrong in 30 % of the cases: `flip` is any other label by
chance, `force` is always the same label. Scored is what the small levels say, on every event,
against the expert's true answer, before, during and after; and how many candidates were rejected.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.real_runs import WORKERS, figures, job, one, spread
from benchmarks.recorded import DataSet, named, read, write
from flink_job.replay import Replay
from flink_job.sources.blocks import Blocks
from model_store.manifest import Manifest
from model_store.memory import MemoryBackend
from model_store.store import ModelStore
from operators.records import Decision

PHASE = (0.4, 0.6)
POISONED = 0.3
ATTACKS = ("none", "flip", "force")
FORCED = {"isear": "anger", "hatespeech": "yes", "imdb": "positive"}
GATES: dict[str, dict[str, Any]] = {"off": {"gate": None}, "on": {}}
COLUMNS = ("before", "during", "after", "promoted", "rejected before", "during", "after")


class Watched(ModelStore):
    """A store that remembers everything that was published."""

    def __init__(self) -> None:
        super().__init__(MemoryBackend(), retention=2, now=lambda: datetime.now(UTC))
        self.made: list[Manifest] = []

    def publish(self, *args: Any, **named: Any) -> Manifest:
        """Publish, and remember."""
        self.made.append(super().publish(*args, **named))
        return self.made[-1]


@dataclass
class Phase:
    """What happened in a part of the stream."""

    events: int = 0
    right: int = 0
    promoted: int = 0
    rejected: int = 0

    @property
    def agreement(self) -> float:
        """Of the small levels with the true expert, in percent."""
        return 100 * self.right / self.events


@dataclass
class Poisoned:
    """One run: its phases before, during and after."""

    phases: tuple[Phase, Phase, Phase] = field(default_factory=lambda: (Phase(), Phase(), Phase()))

    @property
    def cells(self) -> list[float]:
        """The numbers of a row."""
        return [
            *(phase.agreement for phase in self.phases),
            sum(phase.promoted for phase in self.phases),
            *(phase.rejected for phase in self.phases),
        ]


def poison(data: DataSet, folder: Path, seed: int, attack: str, target: Path) -> dict[str, str]:
    """Write a data set in the order of the seed with some wrong answers; return the true ones."""
    rows = read(folder, data, seed)
    true = {row["id"]: row["expert"] for row in rows}
    chance = random.Random(f"{seed}/{attack}")
    first, last = (int(share * len(rows)) for share in PHASE)
    for row in rows[first:last]:
        if attack != "none" and chance.random() < POISONED:
            others = [label for label in data.labels if label != row["expert"]]
            row["expert"] = FORCED[data.name] if attack == "force" else chance.choice(others)
    write(rows, target)
    return true


def poisoned(data: DataSet, seed: int, folder: Path, attack: str, gate: str) -> Poisoned:
    """Replay one data set once."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "poisoned.csv.gz"
        true = poison(data, folder, seed, attack, source)
        settings = job(
            data,
            source,
            Path(scratch) / "out",
            seed,
            budget={"calls": data.calls[1]},
            learning=GATES[gate],
        ).for_stream_of(len(true))
        run = Poisoned()
        for at, decisions, made in asyncio.run(played(settings, len(true))):
            place = sum(at >= share * len(true) for share in PHASE)
            phase = run.phases[place]
            for decision in decisions:
                phase.events += 1
                phase.right += (decision.small_label or decision.label) == true[decision.id]
            phase.rejected += sum(manifest.rejected is not None for manifest in made)
            phase.promoted += sum(manifest.rejected is None for manifest in made)
        return run


async def played(settings: Any, records: int) -> list[tuple[int, list[Decision], list[Manifest]]]:
    """What each block led to: where it begins, its decisions, the releases made of them."""
    store = Watched()
    loop, blocks = Replay(settings, store), Blocks(settings)
    played = []
    try:
        for number in range(-(-records // settings.source.block)):
            before, decisions = len(store.made), []
            for shard, events in blocks.read(number).chunks.items():
                decisions += await loop.decide(shard, events)
            played.append((number * settings.source.block, decisions, store.made[before:]))
    finally:
        await loop.close()
    return played


def costs(chosen: Sequence[DataSet], options: argparse.Namespace) -> Iterator[str]:
    """Rows of the runs without poison."""
    yield "| data set | calls | gate | agreement | accuracy | macro-F1 |"
    yield "|---" * 6 + "|"
    with ProcessPoolExecutor(WORKERS) as pool:
        for data in chosen:
            for calls in data.calls:
                runs = {
                    gate: [
                        pool.submit(
                            one,
                            data,
                            seed,
                            options.data,
                            {"budget": {"calls": calls}, "learning": learning},
                        )
                        for seed in range(options.seeds)
                    ]
                    for gate, learning in GATES.items()
                }
                for gate, jobs in runs.items():
                    rows = [figures(made.result()) for made in jobs]
                    cells = [
                        spread(row[column] for row in rows)
                        for column in ("agreement", "accuracy", "macro-F1")
                    ]
                    yield f"| {data.name} | {calls} | {gate} | {' | '.join(cells)} |"


def attacks(chosen: Sequence[DataSet], options: argparse.Namespace) -> Iterator[str]:
    """Rows of the runs with poison."""
    yield f"| data set | calls | attack | gate | {' | '.join(COLUMNS)} |"
    yield "|---" * (len(COLUMNS) + 4) + "|"
    with ProcessPoolExecutor(WORKERS) as pool:
        runs = {
            (data.name, data.calls[1], attack, gate): [
                pool.submit(poisoned, data, seed, options.data, attack, gate)
                for seed in range(options.seeds)
            ]
            for data in chosen
            for attack in ATTACKS
            for gate in GATES
        }
        for key, jobs in runs.items():
            made = [run.result().cells for run in jobs]
            cells = [spread(values) for values in zip(*made, strict=True)]
            yield f"| {' | '.join(map(str, key))} | {' | '.join(cells)} |"


def main() -> None:
    """Run everything and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", default=["isear", "hatespeech"])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--poison", action="store_true")
    options = parser.parse_args()
    chosen = named(options.sets)
    for line in (attacks if options.poison else costs)(chosen, options):
        print(line, flush=True)


if __name__ == "__main__":
    main()

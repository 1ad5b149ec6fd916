"""Measures how long labels wait to be taken in, and to be learned, while gradient steps run.

    python -m benchmarks.label_intake DATA_FOLDER MODEL [--sets isear imdb] [--lessons 120]

MODEL is the folder of a base model, DATA_FOLDER that of recorded.py. Lessons of 1, 4 and 16 labels
come at an even pace that leaves the trainer half of its time, with the two top layers fine-tuned on
2 threads and releases going to a store in memory, as in the job: lessons are learned on one thread,
steps made on another. "Taken in" is the time that the caller of the intake waits, the log of the
lesson in Flink's state not counted; "learned" runs until the head knows the labels. A lesson counts
as "during a step" if a round was under way when it came. "Late" is by how much the caller overslept
before it: what the machine's other work, and the threads of this one, cost anyone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.encoder_runs import encoder, linear
from benchmarks.recorded import DataSet, named, read
from model_store.memory import MemoryBackend
from model_store.memory_ledger import MemoryLedger
from model_store.store import ModelStore
from operators.assembly import build_trainer, prepare_levels
from operators.core.intake import Intake
from operators.core.publisher import Publisher
from operators.records import Annotation, Lesson, Reason, pack
from operators.settings import CascadeSettings

SIZES = (1, 4, 16)
BACKLOG = 4  # lessons: with more the stream is faster than the trainer, and waits by design
PACE = 2.0  # times what it takes to learn a lesson while nothing else runs
WARM_UP = 4  # lessons


@dataclass
class Waited:
    """What a lesson waited, in seconds."""

    during_step: bool
    late: float
    taken_in: float
    learned: float = 0.0


class Watched(ThreadPoolExecutor):
    """A thread that can be asked about the last thing that it was given to do."""

    last: Future[Any] | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Do it, and remember it."""
        self.last = super().submit(fn, *args, **kwargs)
        return self.last


def settings(data: DataSet, model: Path) -> CascadeSettings:
    """A linear level, and an encoder with two layers that are fine-tuned."""
    return CascadeSettings.model_validate(
        {
            "task": {"name": data.name, "labels": data.labels, "prompt": "?"},
            "levels": [linear(data), encoder(data, model, threads=2, top_layers=2)],
            "expert": {"kind": "recorded", "column": "expert"},
            "budget": {"share": 0.1},
        }
    )


def lessons(data: DataSet, folder: Path, size: int, count: int) -> list[bytes]:
    """The first rows of a set, annotated by the expert, in lessons of this size."""
    notes = [
        Annotation(
            row["id"], row["text"], data.labels.index(row["expert"]), None, Reason.POLICY, 1.0
        )
        for row in read(folder, data, most=size * count)
    ]
    return [
        pack([Lesson(tuple(notes[start : start + size]), size)])
        for start in range(0, len(notes), size)
    ]


def measure(chosen: CascadeSettings, stream: Sequence[bytes]) -> list[Waited]:
    """Bring the lessons, one after the other."""
    store = ModelStore(MemoryBackend(), retention=2, now=lambda: datetime.now(UTC))
    ledger = MemoryLedger(ttl_s=60, monotonic=time.monotonic)
    waited: list[Waited] = []
    gap_s = late = 0.0
    with Watched(1) as lessons_thread, Watched(1) as steps_thread:
        trainer = build_trainer(chosen, executor=steps_thread)
        publisher = Publisher(chosen.task.name, trainer, store, ledger, chosen.learning)
        publisher.start()
        intake = Intake(publisher, trainer, lessons_thread)
        for number, lesson in enumerate(stream):
            stepping = steps_thread.last is not None and not steps_thread.last.done()
            came = time.perf_counter()
            intake.take(lesson)
            one = Waited(stepping, late, time.perf_counter() - came)
            if number < WARM_UP:
                list(intake.finish())
                gap_s = PACE * (time.perf_counter() - came)
                continue
            waited.append(one)
            assert lessons_thread.last is not None
            lessons_thread.last.add_done_callback(partial(_note, one, came))
            time.sleep(max(0.0, came + gap_s - time.perf_counter()))
            late = time.perf_counter() - came - gap_s
            list(intake.collect())
            while intake.backlog > BACKLOG:
                time.sleep(gap_s)
                list(intake.collect())
        list(intake.finish())
    return waited


def _note(one: Waited, came: float, _: Future[Any]) -> None:
    one.learned = time.perf_counter() - came


def row(waited: Sequence[Waited], size: int) -> str:
    """Milliseconds: median, 99th percentile and the highest."""
    columns = (
        [one.late for one in waited],
        [one.taken_in for one in waited],
        [one.learned / size for one in waited],
    )
    return " | ".join(
        " / ".join(f"{1e3 * value:.1f}" for value in np.percentile(values, (50, 99, 100)))
        for values in columns
    )


def main() -> None:
    """Run everything and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--sets", nargs="+", default=["isear", "imdb"])
    parser.add_argument("--lessons", type=int, default=120)
    options = parser.parse_args()
    print("| texts | labels in a lesson | came | lessons | late | taken in | learned, by label |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for data in named(options.sets):
        chosen = settings(data, options.model)
        prepare_levels(chosen)
        for size in SIZES:
            count = WARM_UP + options.lessons
            waited = measure(chosen, lessons(data, options.data, size, count))
            for when, stepping in (("during a step", True), ("between steps", False)):
                part = [one for one in waited if one.during_step is stepping]
                cells = row(part, size) if part else "- | - | -"
                print(f"| {data.name} | {size} | {when} | {len(part)} | {cells} |", flush=True)


if __name__ == "__main__":
    main()

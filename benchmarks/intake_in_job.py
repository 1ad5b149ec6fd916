"""Measures how long the trainer of a Flink job is busy with a lesson, gradient steps beside it.

    python -m benchmarks.intake_in_job DATA_FOLDER MODEL [--sets isear] [--budgets low] [--rest 0.2]

Arguments are those of encoder_runs.py. The two top layers are fine-tuned; the cascade rests before
each chunk, for the stream would else be faster than the trainer, and wait by design. Timed are what
the operator does with a lesson, and what Flink does with its state at the end of a bundle, with a
snapshot of the trainer in it, every 64 lessons, or without. Until both are done no other label is
taken in. The first lesson is left out: with it the trainer is built, and torch loaded.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
from pyflink.fn_execution.state_impl import RemoteKeyedStateBackend

from benchmarks.encoder_runs import (
    Case,
    arguments,
    calls_at,
    encoder,
    linear,
    settings_of,
    sources,
)
from benchmarks.real_runs import run_on_flink
from benchmarks.recorded import DataSet, named
from operators.core.intake import Intake, Learned
from operators.flink.cascade import CascadeFunction
from operators.flink.trainer import TrainerFunction
from operators.levels.encoder.finetune import Tuner
from operators.levels.encoder.tuning import Round

LIMIT_MS = 50.0
_STATE_OF_TRAINER = "lessons"  # the name of one of its states


class Watch:
    """Notes what the trainer's thread was busy with, and whether steps were made meanwhile."""

    def __init__(self, rest_s: float) -> None:
        self.rest_s = rest_s
        self.stepping = False
        self.snapshot_due = False
        self.lessons: list[tuple[bool, float]] = []
        self.commits: list[tuple[bool, float]] = []
        self.snapshots: list[tuple[bool, float]] = []

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Wrap the operators and the state of this process, which is that of the job."""
        watch, rounds, decide = self, Tuner.round, CascadeFunction.process_element
        learn, commit = TrainerFunction.process_element, RemoteKeyedStateBackend.commit
        collect = Intake.collect

        def stepping(self: Tuner, *arguments: Any) -> Round:
            watch.stepping = True
            made = rounds(self, *arguments)
            watch.stepping = False
            return made

        def resting(self: CascadeFunction, *arguments: Any) -> Iterator[Any]:
            time.sleep(watch.rest_s)
            yield from decide(self, *arguments)

        def timed(self: TrainerFunction, *arguments: Any) -> Iterator[str]:
            busy, began_s = watch.stepping, time.perf_counter()
            made = list(learn(self, *arguments))
            watch.lessons.append((busy, time.perf_counter() - began_s))
            yield from made

        def collecting(self: Intake) -> Iterator[Learned]:
            for learned in collect(self):
                watch.snapshot_due |= learned.snapshot is not None
                yield learned

        def committing(self: Any) -> None:
            if _STATE_OF_TRAINER not in self._all_states:
                commit(self)
                return
            noted = watch.snapshots if watch.snapshot_due else watch.commits
            busy, began_s, watch.snapshot_due = watch.stepping, time.perf_counter(), False
            commit(self)
            noted.append((busy, time.perf_counter() - began_s))

        with (
            mock.patch.object(Tuner, "round", stepping),
            mock.patch.object(CascadeFunction, "process_element", resting),
            mock.patch.object(TrainerFunction, "process_element", timed),
            mock.patch.object(Intake, "collect", collecting),
            mock.patch.object(RemoteKeyedStateBackend, "commit", committing),
        ):
            yield


def case(data: DataSet, options: argparse.Namespace, calls: int) -> Case:
    """Two layers tuned, on two threads."""
    tuned = encoder(data, options.model, threads=2, top_layers=2)
    return Case("2 tuned", calls, {"levels": [linear(data), tuned]})


def row(what: str, times: Sequence[tuple[bool, float]]) -> Iterator[str]:
    """Milliseconds: median, 99th percentile, the highest, and how many took longer than wanted."""
    for when, busy in (("during a step", True), ("between steps", False)):
        taken = np.array([1e3 * taken_s for stepping, taken_s in times if stepping is busy])
        if len(taken):
            cells = " | ".join(f"{value:.1f}" for value in np.percentile(taken, (50, 99, 100)))
            late = int(np.sum(taken > LIMIT_MS))
            yield f"| {what} | {when} | {len(taken)} | {cells} | {late} |"


def main() -> None:
    """Run everything and print Markdown."""
    parser = arguments(__doc__)
    parser.set_defaults(sets=["isear"], budgets=["low"], seeds=1)
    parser.add_argument("--rest", type=float, default=0.2)
    options = parser.parse_args()
    for data in named(options.sets):
        for calls in calls_at(data, options):
            watch = Watch(options.rest)
            with tempfile.TemporaryDirectory() as scratch, watch.installed():
                (source,) = sources(data, options, scratch)
                made = run_on_flink(settings_of(data, case(data, options, calls), 0, source))
            print(f"\n{data.name}, {made.calls} calls, {made.wall_s:.0f} s\n")
            print(
                f"| the trainer's thread | came | times | p50 | p99 | max | > {LIMIT_MS:.0f} ms |"
            )
            print("|---" * 7 + "|")
            for what, times in (
                ("a lesson", watch.lessons[1:]),
                ("state", watch.commits),
                ("state with a snapshot", watch.snapshots),
            ):
                print("\n".join(row(what, times)), flush=True)


if __name__ == "__main__":
    main()

"""Swaps releases under load in a real Flink job: 1000 of them, in turns with none.

    python -m benchmarks.swap_soak MODEL [--swaps 1000] [--top-layers 0]

MODEL is the folder of a base model. The job (mini cluster, embedded Redis, exits off, so that the
encoder is asked about every event) reads generated posts while a second process publishes releases
of both levels, no two alike, each as soon as the one before was taken up. After some swaps come as
many chunks without any, so that both share whatever the machine does meanwhile. Timed is a chunk in
the cascade operator, taking up included; measured is the memory of the process with the job's
Python workers, which in the mini cluster is this one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np
import numpy.typing as npt

from flink_job.demo.posts import LABELS, generate
from flink_job.evaluation import read_decisions
from flink_job.outcome import Outcome
from flink_job.run import run
from flink_job.settings import JobSettings
from model_store.embedded import EmbeddedRedis
from model_store.redis_backend import RedisBackend
from model_store.store import ModelStore
from operators.assembly import build_trainer
from operators.core.cascade import Cascade
from operators.flink.cascade import CascadeFunction
from operators.flink.types import END, TICK
from operators.records import Annotation, Reason

TASK, NAMESPACE, URL_ENV = "soak", "soak", "SWAP_SOAK_REDIS_URL"
TURN = 20  # swaps before it is the turn of as many chunks without any
LESSON, LESSONS = 64, 48  # learned before the start, so that weights are of a usual size
WARM_UP = 100  # first chunks that are not counted: caches, allocators, the JVM
BLOCK = 64  # events read at once: over 8 shards, chunks of 8
EVENTS_A_SWAP = 50  # some chunks until a release is taken up, and as many without
RESAMPLES = 1000
MIB = 1 << 20
Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Chunk:
    """One call of the cascade operator."""

    turn: int
    swapping: bool
    wall_ms: float
    cpu_ms: float
    swaps: int
    resident_mib: float


def job(model: Path, top_layers: int, events: int, source: Path, out: Path) -> JobSettings:
    """The job; its own trainer publishes nothing."""
    encoder = {"kind": "encoder", "model": str(model), "top_layers": top_layers}
    content: dict[str, Any] = {
        "task": {"name": TASK, "labels": LABELS, "prompt": "Not sent: the answers are recorded."},
        "source": {"path": source, "fields": {"key": "author"}, "block": BLOCK, "max_lag": events},
        "sink": {"path": out},
        "levels": [{"kind": "linear"}, encoder],
        "expert": {"kind": "recorded", "column": "expert"},
        "budget": {"share": 0.02},
        "policy": {"kind": "budgeted", "exit_risk": 0},
        "learning": {"frozen": True},
        "store": {"kind": "redis", "url_env": URL_ENV, "namespace": NAMESPACE},
    }
    return JobSettings.model_validate(content)


def publish(settings: JobSettings, wanted: Synchronized[int], ready: Any) -> None:
    """Publish as many releases as are wanted by now, until none are: the second process."""
    trainer = build_trainer(settings)
    posts = list(generate(LESSON * LESSONS, 7))
    for start in range(0, len(posts), LESSON):
        lesson = [
            Annotation(p.id, p.text, LABELS.index(p.expert), None, Reason.WARMUP, 1.0)
            for p in posts[start : start + LESSON]
        ]
        trainer.learn(lesson, len(lesson))
    learned = trainer.tensors()
    store = ModelStore(
        RedisBackend(os.environ[URL_ENV], NAMESPACE), retention=20, now=lambda: datetime.now(UTC)
    )
    parent: str | None = None
    number = 0
    starter = multiprocessing.parent_process()
    assert starter is not None
    while wanted.value >= 0 and starter.is_alive():
        if number >= wanted.value:
            time.sleep(0.001)
            continue
        number += 1
        factor = np.float32(1 + number * 1e-6)
        tensors = {
            name: tensor * factor if name.endswith("weights") or "layers/" in name else tensor
            for name, tensor in learned.items()
        }
        parent = store.publish(TASK, tensors, parent=parent, stats={}).release
        if number == 1:
            print(f"a release has {sum(t.nbytes for t in tensors.values()) / MIB:.1f} MiB")
            ready.set()


class Watch:
    """Notes every chunk and swap in this process, and says how many releases are wanted."""

    def __init__(self, wanted: Synchronized[int], swaps: int) -> None:
        self.chunks: list[Chunk] = []
        self.swaps = 0
        self._wanted = wanted
        self._last = swaps
        self._turn, self._turn_began, self._turn_swaps, self._rest = 0, WARM_UP, 0, 0

    def install(self) -> None:
        """Wrap the operator and the cascade, which run in this process."""
        process, swap, watch = CascadeFunction.process_element, Cascade.swap, self

        def timed(self: CascadeFunction, value: Any, ctx: Any) -> Iterator[Any]:
            wall, cpu = time.perf_counter(), time.thread_time()
            made = list(process(self, value, ctx))
            if bytes(value[1]) not in (TICK, END):
                watch.note(time.perf_counter() - wall, time.thread_time() - cpu)
            yield from made

        def counted(self: Cascade, staged: Any) -> None:
            watch.swaps += 1
            swap(self, staged)

        patch.object(CascadeFunction, "process_element", timed).start()
        patch.object(Cascade, "swap", counted).start()

    def note(self, wall_s: float, cpu_s: float) -> None:
        """Take down a chunk, and whose turn the next one is."""
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        resident = pages * os.sysconf("SC_PAGE_SIZE") / MIB
        swapping = self._rest == 0
        times = wall_s * 1e3, cpu_s * 1e3
        self.chunks.append(Chunk(self._turn, swapping, *times, self.swaps, resident))
        if len(self.chunks) < WARM_UP or self.swaps >= self._last:
            return
        if not swapping:
            self._rest -= 1
            if self._rest == 0:
                self._turn += 1
                self._turn_began, self._turn_swaps = len(self.chunks), self.swaps
        elif self.swaps - self._turn_swaps >= TURN:
            self._rest = len(self.chunks) - self._turn_began
            return
        if self._rest == 0:
            # One at a time: of two that come at once only the second would be taken up.
            self._wanted.value = self.swaps + 1


def by_turn(chunks: list[Chunk], swapping: bool) -> list[Times]:
    """Wall and CPU milliseconds of the chunks of each turn."""
    turns: dict[int, list[tuple[float, float]]] = {}
    for chunk in chunks:
        if chunk.swapping == swapping:
            turns.setdefault(chunk.turn, []).append((chunk.wall_ms, chunk.cpu_ms))
    return [np.array(times) for times in turns.values()]


def p99(turns: list[Times], random: np.random.Generator | None = None) -> Times:
    """99th percentile of both times, over these turns or over as many drawn from them."""
    if random is not None:
        turns = [turns[i] for i in random.integers(len(turns), size=len(turns))]
    times: Times = np.percentile(np.vstack(turns), 99, axis=0)
    return times


def report(watch: Watch, swaps: int) -> None:
    """Print what was measured, of a run that was stopped before its end as well."""
    swaps = min(swaps, watch.swaps)
    counted = [chunk for chunk in watch.chunks[WARM_UP:] if chunk.swaps < swaps]
    print(f"\n{watch.swaps} swaps, {len(watch.chunks)} chunks, {len(counted)} of them counted")
    print("| chunks | number | wall ms, p50 | p99 | CPU ms of the deciding thread, p50 | p99 |")
    print("|---|---|---|---|---|---|")
    both = {name: by_turn(counted, name == "with swaps") for name in ("with swaps", "without")}
    for name, turns in both.items():
        times = np.vstack(turns)
        cells = " | ".join(
            f"{value:.1f}" for value in np.percentile(times, [50, 99], axis=0).T.flat
        )
        print(f"| {name} | {len(times)} | {cells} |")
    random = np.random.default_rng(0)
    ratios = np.array(
        [p99(both["with swaps"], random) / p99(both["without"], random) for _ in range(RESAMPLES)]
    )
    point = p99(both["with swaps"]) / p99(both["without"])
    low, high = np.percentile(ratios, [2.5, 97.5], axis=0)
    wall, cpu = (f"{point[i]:.2f} ({low[i]:.2f}-{high[i]:.2f})" for i in range(2))
    print(f"| ratio of p99 (95 %, turns drawn again) | | | {wall} | | {cpu} |")
    half = [chunk for chunk in counted if chunk.swaps >= swaps / 2]
    slope = np.polyfit([c.swaps for c in half], [c.resident_mib for c in half], 1)[0]
    print(
        f"resident memory {counted[0].resident_mib:.0f} MiB at the start, "
        f"{half[0].resident_mib:.0f} after half of the swaps, {half[-1].resident_mib:.0f} at the "
        f"end; slope over the second half {100 * slope:.2f} MiB per 100 swaps"
    )


def main() -> None:
    """Run the job beside its publisher, then count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--swaps", type=int, default=1000)
    parser.add_argument("--top-layers", type=int, default=0)
    options = parser.parse_args()
    events = options.swaps * EVENTS_A_SWAP
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch, EmbeddedRedis(Path(scratch) / "redis") as redis:
        os.environ[URL_ENV] = redis.url
        source, out = Path(scratch) / "posts.jsonl", Path(scratch) / "out"
        with source.open("wb") as file:
            for post in generate(events, 1):
                file.write(msgspec.json.encode(post) + b"\n")
        settings = job(options.model, options.top_layers, events, source, out)
        wanted, ready = spawn.Value("i", 1), spawn.Event()
        publisher = spawn.Process(target=publish, args=(settings, wanted, ready))
        publisher.start()
        ready.wait()
        watch = Watch(wanted, options.swaps)
        watch.install()
        outcome = run(settings, secrets.token_hex(4), lambda _: None)
        wanted.value = -1
        publisher.join()
        decisions = read_decisions(out / "decisions")
    times = Counter(Counter(decision.id for decision in decisions).values())
    releases = {decision.release for decision in decisions} - {None}
    doubled = sum(number for count, number in times.items() if count > 1)
    came = outcome.evaluation.delivery.events_in if isinstance(outcome, Outcome) else "(stopped)"
    print(
        f"{came} events in, {len(decisions)} decisions out, {sum(times.values())} different ids, "
        f"{doubled} doubled; {len(releases)} releases seen on them"
    )
    report(watch, options.swaps)


if __name__ == "__main__":
    main()

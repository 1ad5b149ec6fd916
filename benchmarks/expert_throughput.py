"""How much of a slow LLM a job uses, and whether anything waits for it.

    python -m benchmarks.expert_throughput [--seconds 80] [--turns 3]

Two jobs in the real mini cluster (the product, its Redis, an OpenAI-compatible endpoint in a
process of its own), one after the other. In the first every event goes to an LLM of log-normal
latency, median 1 s and 99th percentile 10 s, with 256 calls in flight: its calls a second against
256 / mean latency, and how long checkpoints took meanwhile. The second, from topic to topic (a
broker that speaks Kafka's protocol), decides posts that come at a steady rate, with an LLM that is
fast and stands still in turns: how long those posts took that a small level answered, in the ones
and in the others.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import secrets
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.slow_llm import SlowLLM
from benchmarks.topics import DECIDED, FIELDS, PARTITIONS, POSTS, Feeder, Reader, Seen, percentiles
from flink_job.demo.posts import LABELS, generate
from flink_job.outcome import Outcome
from flink_job.output import LOGS
from flink_job.run import Progress, run
from flink_job.settings import JobSettings
from tests.kafka import JARS, Broker

IN_FLIGHT = 256
MEDIAN_S, P99_S = 1.0, 10.0
SIGMA = math.log(P99_S / MEDIAN_S) / 2.3263  # the 99th percentile of a normal distribution
FAST_S, FAST_SIGMA = 0.05, 0.3
FULL = 0.9  # of them: from then on
SETTLE_S = 15.0  # of calls in flight until their number is that of a steady state
RATE = 100  # posts a second, from topic to topic
WARM_UP_S, TURN_S, AFTER_S = 25.0, 16.0, 4.0  # after a turn the calls of the last one come in
KEY_ENV = "BENCHMARK_LLM_KEY"
CHECKPOINT = "Completed checkpoint"


def job(source: dict[str, Any], sink: dict[str, Any], llm: SlowLLM, **changes: Any) -> JobSettings:
    """A job of one linear level, all else as it comes."""
    os.environ[KEY_ENV] = "any"
    content: dict[str, Any] = {
        "task": {"name": "throughput", "labels": LABELS, "prompt": "Is the post abusive?"},
        "source": source,
        "sink": sink,
        "levels": [{"kind": "linear", "features": {"bits": 18}}],
        "expert": {
            "kind": "openai",
            "model": "m",
            "base_url": llm.base_url,
            "api_key_env": KEY_ENV,
            "concurrency": IN_FLIGHT,
            "timeout_s": 300,
        },
        "flink": {"checkpoint_interval_s": 2.0},
    }
    return JobSettings.model_validate(content | changes)


def checkpoints_s(log: Path, since_s: float, until_s: float) -> list[float]:
    """How long each checkpoint took that ended between two moments, in seconds."""
    found = []
    for path in log.glob("*.log"):
        for line in path.read_text(encoding="utf-8").splitlines():
            told = json.loads(line)
            message = str(told.get("message", ""))
            if not message.startswith(CHECKPOINT):
                continue
            ended_s = datetime.fromisoformat(told["@timestamp"]).timestamp()
            if since_s <= ended_s <= until_s:
                took = message.partition("checkpointDuration=")[2].partition(" ms")[0]
                found.append(int(took) / 1000)
    return found


@dataclass
class Watch:
    """Samples the endpoint while a job runs."""

    llm: SlowLLM
    events: int
    samples: list[dict[str, float]] = field(default_factory=list)

    def look(self, progress: Progress) -> None:
        """Take a sample while there is more to ask than can be asked at once."""
        usage = progress.usage
        read = usage is not None and usage.seen >= self.events
        if not read:
            self.samples.append(self.llm.stats() | {"wall": time.time()})

    def steady(self) -> tuple[dict[str, float], dict[str, float], float]:
        """First and last sample of the steady state, and the mean of the calls in flight."""
        full = next(s["at"] for s in self.samples if s["in_flight"] >= FULL * IN_FLIGHT)
        steady = [s for s in self.samples if s["at"] >= full + SETTLE_S]
        return steady[0], steady[-1], float(np.mean([s["in_flight"] for s in steady]))


def throughput(seconds: float) -> None:
    """Print the share of the ideal rate that is reached."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        SlowLLM(LABELS[0], MEDIAN_S, SIGMA) as llm,
    ):
        ideal = IN_FLIGHT / llm.mean_s
        events = round(ideal * (seconds + SETTLE_S))
        source = Path(scratch) / "posts.jsonl"
        with source.open("wb") as file:
            for post in generate(events, 1):
                file.write(msgspec.json.encode(post) + b"\n")
        settings = job(
            {"path": source, "fields": {"key": "author"}, "max_lag": 4 * IN_FLIGHT},
            {"path": Path(scratch) / "out"},
            llm,
            budget={"share": 1, "burst": events},
        )
        watch = Watch(llm, events)
        outcome = run(settings, secrets.token_hex(4), watch.look)
        first, last, in_flight = watch.steady()
        answered = last["answered"] - first["answered"]
        reached = answered / (last["at"] - first["at"])
        drawn_s = (last["slept"] - first["slept"]) / answered
        took = checkpoints_s(settings.sink.path / LOGS, first["wall"], last["wall"])
        assert isinstance(outcome, Outcome)
        assert outcome.evaluation.delivery.complete
    print(
        f"{answered:.0f} answers in {last['at'] - first['at']:.0f} s: {reached:.1f} a second with "
        f"{in_flight:.0f} calls in flight; mean latency {drawn_s:.2f} s drawn, {llm.mean_s:.2f} s "
        f"by the distribution\n"
        f"share of 256 / mean latency: {reached / ideal:.1%} ({reached * drawn_s / IN_FLIGHT:.1%} "
        f"by the latencies that were drawn)\n"
        f"{len(took)} checkpoints meanwhile: median {np.median(took):.2f} s, longest "
        f"{max(took):.2f} s"
    )


def standstill(turns: int) -> None:
    """Print how long the small level takes while the LLM is fast, and while it stands still."""
    seconds = WARM_UP_S + 2 * turns * TURN_S
    with (
        tempfile.TemporaryDirectory() as scratch,
        SlowLLM(LABELS[0], FAST_S, FAST_SIGMA) as llm,
        Broker(Path(scratch) / "broker") as broker,
    ):
        broker.create(PARTITIONS, POSTS, DECIDED, "dead", "annotated", "audited", "released")
        kafka = {"kind": "kafka", "bootstrap": broker.bootstrap}
        topics = {
            "decisions": DECIDED,
            "dead_letters": "dead",
            "annotations": "annotated",
            "evidence": "audited",
            "releases": "released",
        }
        settings = job(
            {**kafka, "topics": [POSTS], "group": "g", "fields": FIELDS},
            {
                **kafka,
                "topics": topics,
                "guarantee": "at_least_once",
                "path": Path(scratch) / "out",
            },
            llm,
            budget={"share": 0.2},
            flink={"jars": JARS, "checkpoint_interval_s": 2.0},
        )
        # The first posts find out when the job is there.
        with Reader(broker.bootstrap) as reader:
            edges: list[float] = []
            look = _turning(llm, reader, broker.bootstrap, seconds, turns, edges)
            run(settings, secrets.token_hex(4), look)
            seen = reader.all()
        took = {
            still: [
                c
                for begin, end in _spans(edges, still=still)
                for c in checkpoints_s(settings.sink.path / LOGS, begin, end)
            ]
            for still in (False, True)
        }
    print("| LLM | decisions of the small level | p50 ms | p95 | p99 | max | longest checkpoint |")
    print("|---|---|---|---|---|---|---|")
    p99 = {}
    for still, name in ((False, "fast"), (True, "at a standstill")):
        small = [s for s in seen if s.level != "expert" and _within(s, _spans(edges, still=still))]
        figures = percentiles(small)
        p99[still] = figures[2]
        cells = " | ".join(f"{figure:.0f}" for figure in figures)
        print(f"| {name} | {len(small)} | {cells} | {max(took[still]):.2f} s |")
    print(f"ratio of p99: {p99[True] / p99[False]:.2f}")


def _turning(
    llm: SlowLLM,
    reader: Reader,
    bootstrap: str,
    seconds: float,
    turns: int,
    edges: list[float],
) -> Callable[[Progress], None]:
    """Feeds the job once it runs, and stops and starts the LLM in turns; ends it at the end."""
    feeders: list[Feeder] = []
    began: list[float] = []
    stopped: list[bool] = []

    def look(progress: Progress) -> None:
        if not feeders:
            feeders.append(Feeder(bootstrap, [(1, 15), (RATE, seconds)]).__enter__())
        if not began and reader.count() >= 5:
            began.append(time.time() + WARM_UP_S)
        if not began:
            return
        turn = math.floor((time.time() - began[0]) / TURN_S)
        if 0 <= turn <= 2 * turns and len(edges) <= turn:
            edges.append(time.time())
            llm.stand_still(turn % 2 == 1 and turn < 2 * turns)
        done = feeders[0].done and progress.usage and progress.usage.seen >= feeders[0].events
        if done and turn > 2 * turns and not stopped:
            stopped.append(True)
            os.kill(os.getpid(), signal.SIGINT)

    return look


def _spans(edges: list[float], *, still: bool) -> list[tuple[float, float]]:
    """The turns of one kind, without their beginnings: answers of the last turn come in then."""
    both = list(pairwise(edges))
    return [(begin + AFTER_S, end) for begin, end in both[int(still) :: 2]]


def _within(seen: Seen, spans: list[tuple[float, float]]) -> bool:
    return any(begin <= seen.sent_s <= end for begin, end in spans)


def main() -> None:
    """Run both, each in a process of its own: a JVM writes one log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=80)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    for measure, length in ((throughput, options.seconds), (standstill, options.turns)):
        process = spawn.Process(target=measure, args=(length,))
        process.start()
        process.join()


if __name__ == "__main__":
    main()

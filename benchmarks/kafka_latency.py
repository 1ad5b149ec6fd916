"""How long a post takes from topic to topic, at steady rates, and how fast a backlog is decided.

    python -m benchmarks.kafka_latency [--rates 50 200 800] [--seconds 40] [--backlog 20000]

The real mini cluster with the genuine connector, a broker that speaks Kafka's protocol, recorded
answers, and at-least-once decisions: those of exactly-once can be read with the next checkpoint.
Each rate is a stretch of one stream. What a sender or a reader adds is in the figures.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.topics import DECIDED, FIELDS, PARTITIONS, POSTS, Feeder, Reader, Seen, percentiles
from flink_job.demo.posts import LABELS
from flink_job.run import Progress, run
from flink_job.settings import JobSettings
from tests.kafka import JARS, Broker

WARM_UP = (20, 30)  # posts a second, and for how long: the first release, caches, the JVM
SETTLE_S = 5.0  # of a stretch until it is counted
ALL_AT_ONCE = 1e6
TOPICS = {
    "decisions": DECIDED,
    "dead_letters": "dead",
    "annotations": "annotated",
    "evidence": "audited",
    "releases": "released",
}


def job(bootstrap: str, folder: Path) -> JobSettings:
    """A job of one linear level that asks a tenth, all else as it comes."""
    kafka = {"kind": "kafka", "bootstrap": bootstrap}
    content: dict[str, Any] = {
        "task": {"name": "latency", "labels": LABELS, "prompt": "Not sent: recorded answers."},
        "source": {**kafka, "topics": [POSTS], "group": "g", "fields": FIELDS},
        "sink": {**kafka, "topics": TOPICS, "guarantee": "at_least_once", "path": folder},
        "levels": [{"kind": "linear", "features": {"bits": 18}}],
        "expert": {"kind": "recorded", "column": "answer"},
        "budget": {"share": 0.1},
        "flink": {"jars": JARS, "checkpoint_interval_s": 2.0},
    }
    return JobSettings.model_validate(content)


def until_read(reader: Reader, events: int) -> Callable[[Progress], None]:
    """Ends the job when so many decisions were read."""
    stopped: list[bool] = []

    def look(_: Progress) -> None:
        if not stopped and reader.count() >= events:
            stopped.append(True)
            os.kill(os.getpid(), signal.SIGINT)

    return look


def show(name: str, level: str, seen: list[Seen]) -> None:
    """Print a row."""
    cells = " | ".join(f"{figure:.0f}" for figure in percentiles(seen))
    print(f"| {name} | {level} | {len(seen)} | {cells} |")


def main() -> None:
    """Run one job over all rates and the backlog."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=[50, 200, 800])
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--backlog", type=int, default=20_000)
    options = parser.parse_args()
    stretches = [WARM_UP, *((rate, options.seconds) for rate in options.rates), (0, 10)]
    stretches.append((ALL_AT_ONCE, options.backlog / ALL_AT_ONCE))
    with (
        tempfile.TemporaryDirectory() as scratch,
        Broker(Path(scratch) / "broker") as broker,
        Reader(broker.bootstrap) as reader,
    ):
        broker.create(PARTITIONS, POSTS, *TOPICS.values())
        with Feeder(broker.bootstrap, stretches) as feeder:
            settings = job(broker.bootstrap, Path(scratch) / "out")
            run(settings, secrets.token_hex(4), until_read(reader, feeder.events))
        seen = reader.all()
    seen.sort(key=lambda one: one.sent_s)
    print("| posts a second | answered by | posts | p50 ms | p95 | p99 | max |")
    print("|---|---|---|---|---|---|---|")
    at = round(WARM_UP[0] * WARM_UP[1])
    for rate, length in stretches[1:-2]:
        stretch = seen[at : at + round(rate * length)]
        at += len(stretch)
        counted = [one for one in stretch if one.sent_s >= stretch[0].sent_s + SETTLE_S]
        for level in ("linear", "expert"):
            show(f"{rate:.0f}", level, [one for one in counted if one.level == level])
    backlog = seen[at:]
    took_s = max(one.seen_s for one in backlog) - min(one.seen_s for one in backlog)
    print(f"a backlog of {len(backlog)}: {len(backlog) / took_s:.0f} decisions a second")
    print(f"load of the machine at the end: {os.getloadavg()[0]:.1f}, {time.strftime('%F')}")


if __name__ == "__main__":
    main()

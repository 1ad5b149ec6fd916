"""Both ends of a job from topic to topic, each in a process of its own, and the time between.

The moment when a post is sent travels with it, as the event's time.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from confluent_kafka import Consumer, Producer

from benchmarks.child import SPAWN, Child
from flink_job.demo.posts import generate

POSTS, DECIDED = "posts", "decided"
FIELDS = {"id": "id", "text": "text", "key": "author", "time": "sent"}
PARTITIONS = 4
_POLL_S = 0.05
_LINGER_MS = 1
Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """A decision as it came out.

    Parameters
    ----------
    sent_s, seen_s
        When its post was sent, and when it could be read, by the wall clock.
    """

    level: str
    sent_s: float
    seen_s: float

    @property
    def latency_ms(self) -> float:
        """From the one to the other."""
        return 1000 * (self.seen_s - self.sent_s)


class Reader(Child):
    """Reads decisions from now on, in a process of its own."""

    def __init__(self, bootstrap: str) -> None:
        self._here, there = SPAWN.Pipe()
        super().__init__(_read, bootstrap, there)

    def __enter__(self) -> Self:
        """Start it, and wait until it reads."""
        super().__enter__()
        self._here.recv()
        return self

    def count(self) -> int:
        """Decisions read so far."""
        self._here.send("count")
        found: int = self._here.recv()
        return found

    def all(self) -> list[Seen]:
        """All that was read."""
        self._here.send("all")
        return [Seen(*row) for row in self._here.recv()]


class Feeder(Child):
    """Sends generated posts at a steady rate, in a process of its own, from when it is entered.

    Parameters
    ----------
    rates
        Pairs of events a second and for how many seconds; a rate of 0 sends nothing.
    """

    def __init__(self, bootstrap: str, rates: list[tuple[float, float]]) -> None:
        super().__init__(_feed, bootstrap, rates)
        self.events = sum(round(rate * seconds) for rate, seconds in rates)


def percentiles(seen: list[Seen]) -> Times:
    """The 50th, 95th, 99th and 100th of the latencies, in milliseconds."""
    return np.percentile([one.latency_ms for one in seen], [50, 95, 99, 100])


def _feed(bootstrap: str, rates: list[tuple[float, float]]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": _LINGER_MS})
    posts = generate(sum(round(rate * seconds) for rate, seconds in rates), 1)
    began = time.monotonic()
    for rate, seconds in rates:
        for number in range(round(rate * seconds)):
            post = next(posts)
            wait_s = began + number / rate - time.monotonic()
            if wait_s > 0:
                producer.poll(0)
                time.sleep(wait_s)
            told = {"id": post.id, "author": post.author, "text": post.text}
            value = json.dumps(told | {"sent": repr(time.time()), "answer": post.expert})
            producer.produce(POSTS, value, post.author)
        began += seconds
        producer.flush()


def _read(bootstrap: str, there: Connection) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "latency",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": _LINGER_MS,
        }
    )
    consumer.subscribe([DECIDED])
    found: list[tuple[str, float, float]] = []
    there.send("ready")
    while True:
        message = consumer.poll(_POLL_S)
        if message is not None and message.error() is None:
            decision: dict[str, Any] = json.loads(message.value() or b"")
            found.append((decision["level"], float(decision["time"]), time.time()))
        if there.poll():
            there.send(found if there.recv() == "all" else len(found))

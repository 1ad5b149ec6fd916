"""Runs a job's source through the same core in one process: no Flink, no JVM, no Redis.

For studies and what-if questions. Chunks of the same shards in the same order meet the same
objects as in the job; only the loop has no lag, and time is the stream's own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from flink_job import output
from flink_job.connecting import connection, require_key, require_levels
from flink_job.outcome import Outcome, conclude
from flink_job.settings import JobSettings, SettingsError
from flink_job.sources.blocks import Blocks, survey
from flink_job.virtual_time import VirtualTime
from model_store.ledger import Usage
from model_store.memory import MemoryBackend
from model_store.memory_ledger import MemoryLedger
from model_store.store import ModelStore
from operators.assembly import (
    Parts,
    build_alarm,
    build_cascade,
    build_desk,
    build_trainer,
    parts_that_share,
)
from operators.core.publisher import Publisher
from operators.core.verdicts import to_decision, to_lesson
from operators.records import Decision, Event, to_json_lines


@dataclass(frozen=True)
class Replayed:
    """What a replay made: decisions in stream order within each block, and the counts."""

    decisions: list[Decision]
    dead_letters: Sequence[msgspec.Struct]
    usage: Usage


class Replay:
    """The loop of the job, closed in one process.

    Parameters
    ----------
    store
        Where releases go; with `learning.frozen`, where the head to decide with comes from.
    parts
        Makes levels and policies; the product's, but in a study.
    monotonic
        The clock by which a budget is spent, in seconds.
    """

    def __init__(
        self,
        job: JobSettings,
        store: ModelStore,
        parts: Parts | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._labels = job.task.labels
        self._task = job.task.name
        self._store = store
        window = job.budget.window if job.budget else None
        self.ledger = MemoryLedger(
            ttl_s=job.store.answers_ttl_s, monotonic=monotonic, window=window
        )
        parts = parts or parts_that_share(monotonic)
        self._cascade = build_cascade(job, self.ledger, parts)
        self._desk = build_desk(job, self.ledger)
        self._publisher = Publisher(
            self._task,
            build_trainer(job, parts),
            store,
            self.ledger,
            job.learning,
            build_alarm(job),
        )
        self._publisher.start()

    async def decide(self, shard: int, events: Sequence[Event]) -> list[Decision]:
        """Take one chunk all the way: decisions, the expert's answers, learning, release."""
        head = self._publisher.parent
        if head is not None and head != self._cascade.release:
            self._cascade.load(self._store.load(self._task, head))
        outcome = self._cascade.decide(str(shard), events)
        if not outcome.deferrals:
            return outcome.decisions
        verdicts = await self._desk.answer(outcome.deferrals)
        self._publisher.take(to_lesson(verdicts, self._labels))
        return outcome.decisions + [to_decision(verdict, self._labels) for verdict in verdicts]

    async def close(self) -> None:
        """Let go of the expert's connections."""
        await self._desk.close()


def replay(job: JobSettings, records: int, rate: float | None = None) -> Replayed:
    """Run a bounded source of so many records through the loop.

    Parameters
    ----------
    rate
        Events in a second, for a budget that goes by the clock; None takes the events' own times.

    Raises
    ------
    SettingsError
        If the job decides with a frozen release, and there is none; or if its budget goes by a
        clock that there is not.
    """
    return asyncio.run(_replay(job, records, rate))


async def _replay(job: JobSettings, records: int, rate: float | None) -> Replayed:
    now = VirtualTime(job, rate)
    loop = Replay(job, _store(job), monotonic=now)
    blocks = Blocks(job)
    decisions: list[Decision] = []
    dead: list[msgspec.Struct] = []
    try:
        for number in range(-(-records // job.files.block)):
            block = blocks.read(number)
            dead += block.dead
            for shard, events in now.pass_through(block):
                decisions += await loop.decide(shard, events)
    finally:
        await loop.close()
    return Replayed(decisions, dead, loop.ledger.usage())


def _store(job: JobSettings) -> ModelStore:
    """Memory, so that a replay never touches the releases of a live job; frozen only reads."""
    if not job.learning.frozen:
        return ModelStore(MemoryBackend(), retention=2, now=lambda: datetime.now(UTC))
    job.store.resolve()
    store = connection(job, "replay").store()
    if store.head(job.task.name) is None:
        message = (
            f"learning.frozen: the store holds no release of task {job.task.name!r}. "
            "Operator action: run the job without `frozen` first, or correct the task's name, "
            "`store.namespace` or the URL."
        )
        raise SettingsError(message)
    return store


def run_replay(job: JobSettings, rate: float | None = None) -> Outcome:
    """Replay a job, write what the job would write, and evaluate it.

    Parameters
    ----------
    rate
        See `replay`.

    Raises
    ------
    SettingsError
        If the job can not be replayed.
    """
    if job.files.watch:
        message = "source.watch: a replay needs a source that ends; take `watch` out"
        raise SettingsError(message)
    VirtualTime(job, rate)  # says what is missing before anything is written
    found = survey(job)
    job = job.for_stream_of(found.events)
    require_key(job)
    require_levels(job)
    output.prepare(job.sink)
    started = time.monotonic()
    made = replay(job, found.records, rate)
    wall_s = time.monotonic() - started
    _write(job.sink.path / output.DECISIONS, made.decisions)
    _write(job.sink.path / output.DEAD_LETTERS, made.dead_letters)
    return conclude(
        job,
        found,
        events_in=made.usage.seen,
        calls=made.usage.reserved,
        wall_s=wall_s,
        title=f"{job.task.name}: replay",
    )


def _write(folder: Path, records: Sequence[msgspec.Struct]) -> None:
    folder.mkdir()
    text = to_json_lines(records) + "\n" if records else ""
    (folder / "part-0.jsonl").write_text(text, encoding="utf-8")

"""A source's files as numbered blocks of records: block i is a function of the files alone.

So a reader needs no state of its own: a number that is replayed after a failure gives the same
events again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from flink_job.evaluation import Reference
from flink_job.settings import FieldSettings, JobSettings
from flink_job.sources.parsing import parse, shard_of
from flink_job.sources.reading import Row, list_files, read_rows
from operators.records import DeadLetter, Event


@dataclass(frozen=True)
class Block:
    """A run of records: its events by shard, in order, and its dead letters."""

    chunks: dict[int, list[Event]]
    dead: list[DeadLetter]

    @property
    def events(self) -> int:
        """Number of events."""
        return sum(len(chunk) for chunk in self.chunks.values())


class Blocks:
    """Reads a job's source, block by block; going on is cheap, going back starts over."""

    def __init__(self, job: JobSettings) -> None:
        self._job = job
        self._files = list_files(job.source)
        self._next = 0
        self._records: Iterator[tuple[Path, Row]] = iter(())

    def read(self, number: int) -> Block:
        """Block `number`; empty behind the end of the source."""
        size = self._job.source.block
        if number != self._next or number == 0:
            self._records = self._all()
            for _ in islice(self._records, number * size):
                pass
        self._next = number + 1
        return to_block(self._job, list(islice(self._records, size)))

    def _all(self) -> Iterator[tuple[Path, Row]]:
        rows = ((f, row) for f in self._files for row in read_rows(f, self._job.source))
        return islice(rows, self._job.source.limit)


def to_block(job: JobSettings, records: Sequence[tuple[Path, Row]]) -> Block:
    """Parse records and sort the events into shards."""
    chunks: dict[int, list[Event]] = {}
    dead: list[DeadLetter] = []
    for path, row in records:
        parsed = parse(row, path.name, job.task.name, job.source.fields, job.recorded_column)
        if isinstance(parsed, DeadLetter):
            dead.append(parsed)
        else:
            chunks.setdefault(shard_of(parsed.key, job.flink.shards), []).append(parsed)
    return Block(chunks, dead)


@dataclass(frozen=True)
class Survey:
    """What a look through the whole source finds, before the job starts.

    Parameters
    ----------
    records
        Events and dead letters.
    references
        What the report compares decisions with, in stream order.
    dead
        Number of dead letters.
    """

    records: int
    references: list[Reference]
    dead: int

    @property
    def events(self) -> int:
        """Number of events."""
        return len(self.references)


def survey(job: JobSettings) -> Survey:
    """Read a bounded source once: its length, and what it knows about its events.

    Raises
    ------
    SettingsError
        If there is nothing to read, or a column is missing.
    """
    fields = job.source.fields
    expert = fields.expert or job.recorded_column
    references: list[Reference] = []
    records = 0
    files = list_files(job.source)
    rows = ((path, row) for path in files for row in read_rows(path, job.source))
    for path, row in islice(rows, job.source.limit):
        records += 1
        event = parse(row, path.name, job.task.name, fields, job.recorded_column)
        if isinstance(event, Event):
            references.append(_reference(event.id, row, fields, expert))
    return Survey(records, references, records - len(references))


def _reference(identity: str, row: Row, fields: FieldSettings, expert: str | None) -> Reference:
    values = row.values or {}
    known = [values.get(name) if name else None for name in (fields.label, expert)]
    label, answer = (str(value) if value not in (None, "") else None for value in known)
    return Reference(identity, label, answer)

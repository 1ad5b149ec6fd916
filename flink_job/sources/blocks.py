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
from flink_job.settings import JobSettings, SettingsError
from flink_job.source_settings import FileSourceSettings
from flink_job.sources.parsing import look_up, parse, shard_of
from flink_job.sources.reading import Row, list_files, read_rows
from operators.expert.prompt import parse_label
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
        self._files = list_files(job.files)
        self._next = 0
        self._records: Iterator[tuple[Path, Row]] = iter(())

    def read(self, number: int) -> Block:
        """Block `number`; empty behind the end of the source."""
        size = self._job.files.block
        if number != self._next or number == 0:
            self._records = _all_rows(self._job, self._files)
            for _ in islice(self._records, number * size):
                pass
        self._next = number + 1
        return to_block(self._job, list(islice(self._records, size)))


def _all_rows(job: JobSettings, files: Sequence[Path]) -> Iterator[tuple[Path, Row]]:
    rows = ((path, row) for path in files for row in read_rows(path, job.files, job.columns))
    return islice(rows, job.files.limit)


def to_block(job: JobSettings, records: Sequence[tuple[Path, Row]]) -> Block:
    """Parse records and sort the events into shards."""
    chunks: dict[int, list[Event]] = {}
    dead: list[DeadLetter] = []
    for path, row in records:
        parsed = parse(row, path.name, job.task.name, job.files.fields, job.recorded_column)
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
        If there is nothing to read, a column is missing, or a gold label is none of the labels.
    """
    references: list[Reference] = []
    records = 0
    for path, row in _all_rows(job, list_files(job.files)):
        records += 1
        event = parse(row, path.name, job.task.name, job.files.fields, job.recorded_column)
        if isinstance(event, Event):
            references.append(_reference(job, event.id, path, row))
    return Survey(records, references, records - len(references))


def survey_if_it_ends(job: JobSettings) -> Survey | None:
    """The survey of a source that ends; of an endless one only its folder is looked for.

    Raises
    ------
    SettingsError
        If there is nothing to read, or it can not be read.
    """
    if not job.endless:
        return survey(job)
    if isinstance(job.source, FileSourceSettings):
        list_files(job.source)
    return None


def _reference(job: JobSettings, identity: str, path: Path, row: Row) -> Reference:
    fields, labels = job.files.fields, job.task.labels
    label = _known(row, fields.label)
    if label is not None and label not in labels:  # now, and not when the run is over
        message = (
            f"source.fields.label: {label!r} in {path.name}, line {row.line}, is none of the "
            f"task's labels {list(labels)}. Operator action: correct the name of the column with "
            "the gold labels, the row, or `task.labels`."
        )
        raise SettingsError(message)
    answer = _known(row, fields.expert or job.recorded_column)
    # Read as the expert's answers are; what is no label stays as it is, and counts as wrong.
    return Reference(identity, label, parse_label(answer, labels) or answer)


def _known(row: Row, name: str | None) -> str | None:
    value = look_up(row.values or {}, name) if name else None
    return None if value in (None, "") else str(value)

"""A cell of the study: one method at one budget on one stream with one seed, and its results."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import msgspec

from benchmarks.study.streams import Half, Order

_ROOT = Path(__file__).parents[2]
_CODE = (  # whatever can change a result
    "benchmarks/study",
    "operators",
    "flink_job/replay.py",
    "flink_job/sources",
    "flink_job/evaluation",
    "flink_job/settings.py",
)
_PLAIN = re.compile(r"[^\w.=-]+")


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is run.

    Parameters
    ----------
    set
        Name of the data set.
    levels
        Name of the cascade: ``linear``, ``encoder`` or ``both``.
    method
        Name of the method, perhaps with settings.
    share
        Budget in calls an event.
    """

    set: str
    half: Half
    order: Order
    levels: str
    method: str
    share: float
    seed: int

    def path(self, folder: Path) -> Path:
        """Where the result lies: readable, and a file of its own for every cell."""
        digest = hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:8]
        method = _PLAIN.sub("_", self.method)[:60]
        name = f"{method}-{self.share:.3f}-{self.seed}-{digest}.json"
        return folder / "cells" / self.set / f"{self.half}-{self.order}" / self.levels / name


class Figures(msgspec.Struct, frozen=True):
    """What came out, shares in [0, 1]. None: the task names no positive label.

    Parameters
    ----------
    calls, events
        Calls to the expert, of so many events.
    agreement, low, high
        Share of decisions equal to the expert's answer, with its 95 % Wilson interval.
    agreement_unasked
        The same among the events of which the expert was not asked.
    answered
        Share of the events that each level answered, cheapest first, the expert last.
    cpu_us
        CPU time an event in microseconds, learning included, reading embeddings in the place of
        computing them.
    knob
        What was found for a method with a knob.
    """

    events: int
    calls: int
    agreement: float
    low: float
    high: float
    agreement_unasked: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_f1: float
    rare_f1: float | None
    rare_recall: float | None
    answered: tuple[float, ...]
    cpu_us: float
    knob: float | None = None


class Baselines(msgspec.Struct, frozen=True):
    """The expert alone on every event, and always the most frequent label, against gold."""

    expert_accuracy: float
    expert_macro_f1: float
    expert_rare_f1: float | None
    expert_rare_recall: float | None
    majority_accuracy: float
    majority_macro_f1: float
    majority_rare_f1: float | None
    majority_rare_recall: float | None
    majority_agreement: float


class Result(msgspec.Struct, frozen=True):
    """A cell's file.

    Parameters
    ----------
    fingerprint
        Of the code and the settings that made it.
    """

    cell: Cell
    fingerprint: str
    figures: Figures
    baselines: Baselines


@lru_cache(maxsize=1)
def code_fingerprint() -> str:
    """Hash of all code that a result depends on."""
    digest = hashlib.sha256()
    for start in _CODE:
        path = _ROOT / start
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(_ROOT).as_posix().encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def read_result(path: Path) -> Result | None:
    """The result in a file; None if there is none, or one of another layout."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Result)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def write_result(path: Path, result: Result) -> None:
    """Write whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    part.replace(path)


def all_results(folder: Path) -> Iterator[Result]:
    """Every result under a study's folder."""
    for path in sorted((folder / "cells").rglob("*.json")):
        result = read_result(path)
        if result is not None:
            yield result

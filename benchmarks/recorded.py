"""The data sets with recorded answers of GPT-3.5 that the scripts beside this one run on.

A folder holds hatespeech.csv.gz, isear.csv.gz and imdb.csv.gz, with the columns id, text, label and
expert, in random order.
"""

from __future__ import annotations

import csv
import gzip
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Row = dict[str, str]
_LONGEST = 1 << 26  # bytes of a field; the reader's own limit is below what imdb has


@dataclass(frozen=True)
class DataSet:
    """A data set, its labels, and what the length of its texts asks for.

    Parameters
    ----------
    calls
        The budgets at which the paper reports it (Table 1), low, middle and high.
    positive
        The rare label whose F1 is reported.
    characters
        n-grams of the linear level.
    tokens
        Of a text that an encoder reads.
    encoded
        Rows of it that are used where an encoder reads them; None takes all.
    """

    name: str
    labels: tuple[str, ...]
    calls: tuple[int, int, int]
    positive: str | None = None
    characters: tuple[int, int] | None = (3, 5)
    tokens: int = 128
    encoded: int | None = None


SETS = (
    DataSet("hatespeech", ("no", "yes"), (600, 1350, 2700), positive="yes"),
    DataSet(
        "isear",
        ("anger", "disgust", "fear", "guilt", "joy", "sadness", "shame"),
        (1200, 1500, 2700),
    ),
    DataSet(
        "imdb",
        ("negative", "positive"),
        (1300, 2600, 5200),
        characters=None,
        tokens=256,
        encoded=3000,
    ),
)


def named(names: Sequence[str]) -> list[DataSet]:
    """The sets of these names, in this order."""
    known = {data.name: data for data in SETS}
    return [known[name] for name in names]


def read(folder: Path, data: DataSet, seed: int = 0, most: int | None = None) -> list[Row]:
    """The first rows of a set, shuffled for every seed but 0, which is the order of the file."""
    csv.field_size_limit(_LONGEST)
    with gzip.open(folder / f"{data.name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:most]
    if seed:
        random.Random(seed).shuffle(rows)
    return rows


def write(rows: Sequence[Row], target: Path) -> Path:
    """Write rows as a source of a job; returns the file."""
    with gzip.open(target, "wt", encoding="utf-8", newline="", compresslevel=1) as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return target

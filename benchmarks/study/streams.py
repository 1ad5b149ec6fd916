"""The stream of a run: which half of a data set, and in which order."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, starmap, takewhile
from typing import Literal

from flink_job.evaluation import Reference
from flink_job.settings import JobSettings
from flink_job.sources.blocks import Blocks, survey
from flink_job.sources.parsing import shard_of
from operators.records import Event

Half = Literal["development", "report", "all"]
"""Choices are made on the development half alone; results are reported on the other."""
Order = Literal["shuffled", "length", "label", "source"]
"""`length`: ascending, as in the paper's Table 2. `label`: the most frequent labels come first.
`source`: as in the file."""

_STREAMS_KEPT = 2


@dataclass(frozen=True)
class Item:
    """An event, and what is known about it."""

    event: Event
    reference: Reference


@lru_cache(maxsize=_STREAMS_KEPT)
def items(job: JobSettings) -> tuple[Item, ...]:
    """All events of a job's source, in the order of the source.

    Raises
    ------
    flink_job.settings.SettingsError
        If it can not be read.
    """
    one_shard = job.model_copy(update={"flink": job.flink.model_copy(update={"shards": 1})})
    blocks = Blocks(one_shard)
    read = takewhile(lambda block: block.events or block.dead, map(blocks.read, count()))
    events = [event for block in read for event in block.chunks.get(0, [])]
    return tuple(starmap(Item, zip(events, survey(job).references, strict=True)))


def half_of(identity: str) -> Half:
    """The half that an event belongs to: of its id alone, so that no choice can move it."""
    digest = hashlib.blake2b(identity.encode(), digest_size=1, person=b"study-halves").digest()
    return "development" if digest[0] % 2 == 0 else "report"


def chosen(everything: Sequence[Item], half: Half, order: Order, seed: int) -> list[Item]:
    """The items of a half, shuffled by the seed, then sorted if the order asks for it."""
    some = [item for item in everything if half in ("all", half_of(item.event.id))]
    if order == "source":
        return some
    random.Random(seed).shuffle(some)
    if order == "length":
        some.sort(key=lambda item: len(item.event.text))
    elif order == "label":
        gold = [item.reference.label or "" for item in some]
        frequency = {label: gold.count(label) for label in gold}
        some.sort(
            key=lambda item: (-frequency[item.reference.label or ""], item.reference.label or "")
        )
    return some


def chunks(stream: Sequence[Item], job: JobSettings) -> list[tuple[int, list[Event]]]:
    """The stream as a job reads it: blocks of records, each cut into chunks of one shard."""
    size = job.files.block
    made: list[tuple[int, list[Event]]] = []
    for start in range(0, len(stream), size):
        shards: dict[int, list[Event]] = {}
        for item in stream[start : start + size]:
            shards.setdefault(shard_of(item.event.key, job.flink.shards), []).append(item.event)
        made += shards.items()
    return made

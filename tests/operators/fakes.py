"""Levels, policies and ledgers that do as they are told, to test what stands around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from model_store.errors import StoreUnavailable
from model_store.ledger import Grant, Usage
from model_store.memory_ledger import MemoryLedger
from operators.levels.port import Probabilities, Tensors
from operators.policy.port import Routing, Rows
from operators.records import Event, Reason

TASK = "moderation"
Say = Callable[[str], Sequence[float]]


def event(number: int | str, text: str | None = None) -> Event:
    """An event; its text is its number unless told otherwise."""
    return Event(id=f"e{number}", key="k", text=str(number) if text is None else text, task=TASK)


def events(count: int, start: int = 0) -> list[Event]:
    """Events whose texts are consecutive numbers."""
    return [event(number) for number in range(start, start + count)]


def confident(confidence: float, label: int = 0, labels: int = 2) -> list[float]:
    """Probabilities with this one for `label`; the others share the rest."""
    row = [(1 - confidence) / (labels - 1)] * labels
    row[label] = confidence
    return row


@dataclass
class FakeLevel:
    """A `Level` whose opinion is a function of the text; notes what it was asked about."""

    say: Say
    labels: int = 2
    name: str = "fake"
    asked: list[str] = field(default_factory=list)
    served: object = None
    on_gpu: bool = False

    def stage(self, tensors: Tensors) -> object:
        return dict(tensors)

    def swap(self, staged: object) -> None:
        self.served = staged

    def predict(self, texts: Sequence[str]) -> Probabilities:
        self.asked.extend(texts)
        return np.array([self.say(text) for text in texts], np.float64).reshape(-1, self.labels)


@dataclass
class FakeChunk:
    """A `Chunk` over opinions of shape (levels, events, labels); notes what was asked."""

    table: npt.NDArray[np.float64]
    ids: Sequence[str]
    trained: bool = True
    asked: list[set[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.asked = [set() for _ in self.table]

    @property
    def levels(self) -> int:
        return len(self.table)

    @property
    def labels(self) -> int:
        return int(self.table.shape[2])

    def ask(self, level: int, rows: Rows) -> Probabilities:
        assert not self.asked[level] & set(rows.tolist()), "a level was asked twice about an event"
        self.asked[level] |= set(rows.tolist())
        return np.array(self.table[level][rows])


def chunk(*levels: Sequence[Sequence[float]], first: int = 0, trained: bool = True) -> FakeChunk:
    """A chunk from each level's opinions on its events; ids are numbered from `first`."""
    table = np.array(levels, np.float64)
    return FakeChunk(table, [f"e{first + i}" for i in range(table.shape[1])], trained)


@dataclass
class FakePolicy:
    """A `Policy` that sends the events whose ids it was given, and asks level 0 about all."""

    send: frozenset[str] = frozenset()
    scores: list[float] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)
    served: object = None

    def stage(self, tensors: Tensors) -> object:
        return dict(tensors)

    def swap(self, staged: object) -> None:
        self.served = staged

    def recent(self) -> list[float]:
        return self.scores[-4:]

    def recall(self, scores: Sequence[float]) -> None:
        self.scores.extend(scores)

    def route(self, chunk: Any, usage: Usage) -> Routing:
        self.usages.append(usage)
        count = len(chunk.ids)
        sent = np.array([name in self.send for name in chunk.ids], np.bool_)
        self.scores.extend([0.5] * count)
        return Routing(
            probabilities=chunk.ask(0, np.arange(count)),
            level=np.zeros(count, np.intp),
            sent=sent,
            reasons=[Reason.POLICY if s else Reason.ACCEPTED for s in sent],
            propensity=sent.astype(np.float64),
            degraded=np.zeros(count, np.bool_),
        )


class DownLedger:
    """A `Ledger` on a store that does not answer."""

    def _fail(self) -> StoreUnavailable:
        return StoreUnavailable("redis://nowhere", "refused")

    def begin(self) -> Usage:
        raise self._fail()

    def progress(self, shard: str, *, seen: int, deferred: int) -> Usage:
        raise self._fail()

    def settle(self, settled: int, disagreeing: int = 0) -> None:
        raise self._fail()

    def usage(self) -> Usage:
        raise self._fail()

    def reserve(
        self,
        call_ids: Sequence[str],
        cap: int | None,
        *,
        retry: bool = False,
        amounts: Sequence[int] | None = None,
    ) -> list[Grant]:
        raise self._fail()

    def correct(self, costs: Mapping[str, int]) -> None:
        raise self._fail()

    def refund(self, call_ids: Sequence[str], *, retry: bool = False) -> None:
        raise self._fail()

    def forget(self, call_ids: Sequence[str]) -> None:
        raise self._fail()

    def remember(self, answers: Mapping[str, bytes]) -> None:
        raise self._fail()

    def recall(self, ids: Sequence[str]) -> dict[str, bytes]:
        raise self._fail()

    def begun(self) -> bool:
        raise self._fail()

    def testimony(self) -> bytes:
        return b""

    def testify(self, testimony: bytes) -> None:
        pass


def memory_ledger() -> MemoryLedger:
    """A ledger whose clock stands still."""
    return MemoryLedger(ttl_s=1000.0, monotonic=lambda: 0.0)


class Later(Executor):
    """Does what was submitted when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append(lambda: future.set_result(fn(*args, **kwargs)))
        return future

    def work(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()


class UnreadableError(Exception):
    """A level's failure on a text."""


@contextmanager
def failing_on(reader: type, refused: Callable[[str], bool]) -> Iterator[None]:
    """Have a class that reads texts for levels fail on a batch with such a one in it."""
    original: Any = vars(reader)["__call__"]

    def read(self: Any, texts: Sequence[str]) -> Any:
        if any(map(refused, texts)):
            raise UnreadableError(texts)
        return original(self, texts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "__call__", read)
        yield

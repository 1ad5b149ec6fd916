"""Taking up releases: never in a chunk's way, whole or not at all, whatever the store does."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors import numpy as safetensors

from model_store.errors import (
    BlobCorrupt,
    BlobMissing,
    StoreError,
    StoreUnavailable,
    TensorMismatch,
)
from model_store.manifest import Manifest
from model_store.memory import MemoryBackend
from model_store.port import Publication
from model_store.store import ModelStore
from model_store.tensors import TensorRef
from model_store.watch import HeadWatcher
from operators.core.cascade import Cascade
from operators.core.uptake import ReleaseUptake
from operators.levels.port import Tensors
from operators.settings import TaskSettings
from tests.operators.fakes import TASK, FakeLevel, FakePolicy, confident, memory_ledger


class ByHand(Executor):
    """Runs what was submitted when it is told to, or when someone waits for it."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.waited = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        executor = self

        class Waited(Future[Any]):
            def result(self, timeout: float | None = None) -> Any:
                if not self.done():
                    executor.waited += 1
                    executor.work()
                return super().result(0)

        future = Waited()

        def work() -> None:
            try:
                future.set_result(fn(*args, **named))
            except Exception as error:  # handed on, as an executor does
                future.set_exception(error)

        self.waiting.append(work)
        return future

    def work(self) -> None:
        waiting, self.waiting = self.waiting, []
        for work in waiting:
            work()


class Backend(MemoryBackend):
    """A backend whose manifests can be out of reach."""

    down = False

    def manifest(self, task: str, release: str) -> bytes | None:
        if self.down:
            raise StoreUnavailable("redis://test", "down")
        return super().manifest(task, release)


class Picky(FakeLevel):
    """A level that refuses a release whose weight is negative."""

    def stage(self, tensors: Tensors) -> object:
        if tensors["w"][0] < 0:
            raise TensorMismatch("w", "it is negative")
        return super().stage(tensors)


class Bench:
    """A store, a cascade, and what takes up releases from the one for the other."""

    def __init__(self, loader: Executor | None = None) -> None:
        self.backend, self.loader = Backend(), ByHand()
        self.store = ModelStore(self.backend, retention=5, now=lambda: datetime.now(UTC))
        self.level = Picky(lambda _: confident(0.7))
        question = TaskSettings(name=TASK, labels=("a", "b"), prompt="?")
        self.cascade = Cascade(question, [self.level], FakePolicy(), memory_ledger())
        watcher = HeadWatcher(self.store, TASK, poll_interval_s=1.0, monotonic=lambda: 0.0)
        self.uptake = ReleaseUptake(TASK, self.cascade, self.store, watcher, loader or self.loader)

    def publish(self, weight: float) -> str:
        tensors = {"fake/w": np.array([weight], np.float32)}
        head = self.store.head(TASK)
        return self.store.publish(TASK, tensors, parent=head, stats={}).release


@pytest.fixture
def bench() -> Bench:
    return Bench()


def serving(bench: Bench, weight: float) -> str:
    release = bench.publish(weight)
    assert bench.uptake.take_up() is not None
    assert bench.cascade.release == release
    return release


def test_nothing_published_nothing_taken(bench: Bench) -> None:
    assert bench.uptake.take_up() is None
    assert bench.cascade.release is None


def test_the_first_release_is_waited_for(bench: Bench) -> None:
    serving(bench, 1.0)
    assert bench.loader.waited == 1


def test_a_chunk_never_waits_for_a_later_one(bench: Bench) -> None:
    first = serving(bench, 1.0)
    second = bench.publish(2.0)
    for _ in range(3):  # chunks that pass while it is loaded
        assert bench.uptake.take_up() is None
        assert bench.cascade.release == first
    bench.loader.work()
    assert bench.cascade.release == first  # staged, and not swapped until a chunk is done
    taken = bench.uptake.take_up()
    assert taken is not None
    assert (taken.release, taken.error) == (second, None)
    assert bench.cascade.release == second
    assert bench.level.served == {"w": np.array([2.0], np.float32)}
    assert bench.loader.waited == 1


def test_of_many_that_come_while_one_is_loaded_the_last_is_next(bench: Bench) -> None:
    serving(bench, 1.0)
    second = bench.publish(2.0)
    assert bench.uptake.take_up() is None
    bench.publish(3.0)
    last = bench.publish(4.0)
    bench.loader.work()
    taken = bench.uptake.take_up()
    assert taken is not None
    assert taken.release == second
    assert bench.uptake.take_up() is None
    bench.loader.work()
    taken = bench.uptake.take_up()
    assert taken is not None
    assert taken.release == last == bench.cascade.release


def test_one_that_does_not_load_leaves_the_old_one_serving(bench: Bench) -> None:
    first = serving(bench, 1.0)
    bench.publish(-1.0)
    bench.uptake.take_up()
    bench.loader.work()
    taken = bench.uptake.take_up()
    assert taken is not None
    assert isinstance(taken.error, TensorMismatch)
    assert bench.cascade.release == first
    for _ in range(3):  # nor is it tried again
        assert bench.uptake.take_up() is None
    assert bench.loader.waiting == []


def _blob(array: npt.NDArray[Any]) -> bytes:
    return safetensors.save({"tensor": array})


@pytest.mark.parametrize(
    ("written", "stored", "error"),
    [
        (_blob(np.full(1, 5, np.float32)), _blob(np.zeros(1, np.float32)), BlobCorrupt),
        (_blob(np.array([np.nan], np.float32)), None, TensorMismatch),
        (_blob(np.array([np.inf], np.float32)), None, TensorMismatch),
        (_blob(np.ones((1, 1), np.float32)), None, TensorMismatch),
        (_blob(np.ones(1, np.int32)), None, TensorMismatch),
        (_blob(np.full(1, 5, np.float32)), b"", BlobMissing),
    ],
    ids=["hash", "NaN", "infinity", "shape", "type", "gone"],
)
def test_weights_that_can_not_be_trusted_never_serve(
    bench: Bench, written: bytes, stored: bytes | None, error: type[StoreError]
) -> None:
    first = serving(bench, 1.0)
    sha256 = hashlib.sha256(written).hexdigest()
    ref = TensorRef(sha256=sha256, dtype="float32", shape=(1,), nbytes=len(written))
    bad = Manifest.seal(
        task=TASK,
        parent=first,
        sequence=9,
        created=datetime.now(UTC),
        tensors={"fake/w": ref},
        stats={},
    )
    bench.backend.publish(
        Publication(TASK, bad.release, 9, bad.to_bytes(), frozenset(), first, keep=5)
    )
    if stored != b"":
        bench.backend.put_blob(TASK, sha256, written if stored is None else stored)
    bench.uptake.take_up()
    bench.loader.work()
    taken = bench.uptake.take_up()
    assert taken is not None
    assert (taken.release, type(taken.error)) == (bad.release, error)
    assert bench.cascade.release == first
    assert bench.level.served == {"w": np.array([1.0], np.float32)}


def test_one_that_could_not_be_fetched_is_tried_again(bench: Bench) -> None:
    serving(bench, 1.0)
    second = bench.publish(2.0)
    bench.backend.down = True
    bench.uptake.take_up()
    bench.loader.work()
    taken = bench.uptake.take_up()
    assert taken is not None
    assert isinstance(taken.error, StoreUnavailable)
    bench.backend.down = False
    bench.publish(3.0)  # a hint, since the clock of the next poll stands still
    bench.store.rollback(TASK, second)
    bench.uptake.take_up()
    bench.loader.work()
    bench.uptake.take_up()
    assert bench.cascade.release == second


def test_with_a_thread_of_its_own_it_catches_up_and_ends() -> None:
    loader = ThreadPoolExecutor(1, thread_name_prefix="uptake-test")
    bench = Bench(loader)
    serving(bench, 1.0)
    last = [bench.publish(float(weight)) for weight in range(2, 12)][-1]
    assert bench.uptake.take_up() is None or bench.cascade.release == last
    loader.submit(int).result()  # it comes after the load
    bench.uptake.take_up()
    assert bench.cascade.release == last
    bench.uptake.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("uptake-test")]

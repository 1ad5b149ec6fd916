from collections.abc import Callable
from datetime import datetime

import numpy as np
import pytest

from model_store.errors import ManifestInvalid, StoreMisconfigured, StoreUnavailable
from model_store.memory import MemoryBackend
from model_store.port import Backend, Publication, Subscription
from model_store.store import ModelStore
from model_store.watch import HeadWatcher

TASK = "hate"
INTERVAL_S = 10.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Unreliable(MemoryBackend):
    """A backend that can go away, with or without hints, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.hints = True
        self.asked = 0

    def head(self, task: str) -> str | None:
        self.asked += 1
        if self.down:
            raise StoreUnavailable("redis://test", "down")
        return super().head(task)

    def subscribe(self, task: str) -> Subscription:
        if self.down or not self.hints:
            raise StoreUnavailable("redis://test", "no hints")
        hints = super().subscribe(task)
        backend = self

        class Hints:
            def changed(self) -> bool:
                if backend.down or not backend.hints:
                    raise StoreUnavailable("redis://test", "connection lost")
                return hints.changed()

            def close(self) -> None:
                hints.close()

        return Hints()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def unreliable() -> Unreliable:
    return Unreliable()


def watch(backend: Backend, clock: Clock, now: Callable[[], datetime]) -> HeadWatcher:
    return HeadWatcher(
        ModelStore(backend, now=now), TASK, poll_interval_s=INTERVAL_S, monotonic=clock
    )


def publish(backend: Backend, now: Callable[[], datetime]) -> str:
    store = ModelStore(backend, now=now)
    weights = {"weight": np.ones(2, np.float32)}
    # Read around `Unreliable.head`, which counts.
    parent = MemoryBackend.head(backend, TASK) if isinstance(backend, Unreliable) else None
    if not isinstance(backend, Unreliable):
        parent = store.head(TASK)
    return store.publish(TASK, weights, parent=parent, stats={}).release


def test_a_head_that_was_there_is_returned_once(
    backend: Backend, clock: Clock, now: Callable[[], datetime]
) -> None:
    release = publish(backend, now)
    watcher = watch(backend, clock, now)
    assert watcher.poll() == release
    assert watcher.poll() is None
    clock.now_s += INTERVAL_S
    assert watcher.poll() is None
    watcher.close()


def test_a_hint_is_enough(backend: Backend, clock: Clock, now: Callable[[], datetime]) -> None:
    watcher = watch(backend, clock, now)
    assert watcher.poll() is None
    release = publish(backend, now)
    # The clock stands still; the message is on its way over another socket.
    assert next(filter(None, (watcher.poll() for _ in range(100_000)))) == release
    assert watcher.poll() is None
    assert watcher.failures == 0
    watcher.close()


def test_polling_is_enough(
    unreliable: Unreliable, clock: Clock, now: Callable[[], datetime]
) -> None:
    unreliable.hints = False
    watcher = watch(unreliable, clock, now)
    assert watcher.poll() is None
    release = publish(unreliable, now)
    clock.now_s += INTERVAL_S - 1
    assert watcher.poll() is None
    clock.now_s += 1
    assert watcher.poll() == release
    # The head is known, and still somebody should learn that hints do not work.
    assert isinstance(watcher.last_error, StoreUnavailable)
    unreliable.hints = True
    clock.now_s += INTERVAL_S
    assert watcher.poll() is None
    assert watcher.last_error is None


def test_between_polls_the_store_is_left_alone(
    unreliable: Unreliable, clock: Clock, now: Callable[[], datetime]
) -> None:
    watcher = watch(unreliable, clock, now)
    for _ in range(100):
        watcher.poll()
    assert unreliable.asked == 1
    unreliable.down = True
    clock.now_s += INTERVAL_S
    for _ in range(100):
        watcher.poll()
    assert unreliable.asked == 2


def test_an_outage_is_remembered_and_survived(
    unreliable: Unreliable, clock: Clock, now: Callable[[], datetime]
) -> None:
    watcher = watch(unreliable, clock, now)
    first = publish(unreliable, now)
    assert watcher.poll() == first
    second = publish(unreliable, now)
    unreliable.down = True
    assert watcher.poll() is None
    assert watcher.failures > 0
    assert isinstance(watcher.last_error, StoreUnavailable)
    clock.now_s += INTERVAL_S
    assert watcher.poll() is None
    unreliable.down = False
    assert watcher.poll() is None
    clock.now_s += INTERVAL_S
    assert watcher.poll() == second
    assert watcher.last_error is None
    third = publish(unreliable, now)
    assert watcher.poll() == third, "the subscription is back as well"


def test_a_head_that_is_no_release_does_not_stop_the_stream(
    unreliable: Unreliable, clock: Clock, now: Callable[[], datetime]
) -> None:
    unreliable.publish(
        Publication(
            task=TASK,
            release="junk",
            sequence=1,
            manifest=b"",
            hashes=frozenset(),
            expected_head=None,
            keep=1,
        )
    )
    watcher = watch(unreliable, clock, now)
    assert watcher.poll() is None
    assert isinstance(watcher.last_error, ManifestInvalid)


def test_a_release_that_was_not_loaded_comes_again(
    unreliable: Unreliable, clock: Clock, now: Callable[[], datetime]
) -> None:
    release = publish(unreliable, now)
    watcher = watch(unreliable, clock, now)
    assert watcher.poll() == release
    watcher.again()
    assert watcher.poll() is None
    clock.now_s += INTERVAL_S
    assert watcher.poll() == release


def test_a_rollback_is_a_move(
    unreliable: Unreliable, clock: Clock, now: Callable[[], datetime]
) -> None:
    first = publish(unreliable, now)
    publish(unreliable, now)
    watcher = watch(unreliable, clock, now)
    watcher.poll()
    ModelStore(unreliable, now=now).rollback(TASK, first)
    assert watcher.poll() == first


def test_a_closed_watcher_polls_on(
    unreliable: Unreliable, clock: Clock, now: Callable[[], datetime]
) -> None:
    watcher = watch(unreliable, clock, now)
    watcher.poll()
    watcher.close()
    release = publish(unreliable, now)
    assert watcher.poll() is None
    clock.now_s += INTERVAL_S
    assert watcher.poll() == release


def test_an_interval_must_be_positive(
    unreliable: Unreliable, clock: Clock, now: Callable[[], datetime]
) -> None:
    with pytest.raises(StoreMisconfigured, match="Operator action"):
        HeadWatcher(ModelStore(unreliable, now=now), TASK, poll_interval_s=0, monotonic=clock)

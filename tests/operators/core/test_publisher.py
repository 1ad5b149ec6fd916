"""When releases are published, and what happens when the store will not have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from model_store.errors import HeadConflict, StoreUnavailable
from model_store.ledger import Ledger
from model_store.memory import MemoryBackend
from model_store.memory_ledger import MemoryLedger
from model_store.store import ModelStore
from operators.assembly import build_trainer
from operators.core.publisher import Publisher
from operators.core.trainer import Trainer
from operators.records import Lesson
from operators.settings import CascadeSettings, LearningSettings
from tests.operators.core.test_trainer import chosen, notes
from tests.operators.fakes import DownLedger, memory_ledger
from tests.operators.levels.checks import equal

TASK = "t"
_EAGER = LearningSettings(release_every=8, release_growth=0.5, release_at_most=20)
_START = datetime(2025, 1, 1, tzinfo=UTC)


class Flaky(MemoryBackend):
    """A backend that can be unplugged."""

    down = False

    def head(self, task: str) -> str | None:
        if self.down:
            raise StoreUnavailable("redis://nowhere", "refused")
        return super().head(task)


class World:
    """A store, a ledger, and publishers of one task."""

    def __init__(self) -> None:
        self.backend = Flaky()
        ticks: Iterator[int] = iter(range(10**6))
        self.store = ModelStore(self.backend, now=lambda: _START + timedelta(seconds=next(ticks)))
        self.ledger: MemoryLedger = memory_ledger()
        self.learned = 0

    def publisher(
        self,
        learning: LearningSettings = _EAGER,
        trainer: Trainer | None = None,
        ledger: Ledger | None = None,
    ) -> Publisher:
        return Publisher(
            TASK,
            build_trainer(chosen()) if trainer is None else trainer,
            self.store,
            self.ledger if ledger is None else ledger,
            learning,
        )

    def teach(self, publisher: Publisher, count: int, failures: int = 0) -> None:
        lesson = Lesson(tuple(notes(count, self.learned)), count + failures)
        self.learned += count
        publisher.take(lesson)


@pytest.fixture
def world() -> World:
    return World()


def test_releases_follow_the_growth_of_what_was_learned(world: World) -> None:
    publisher = world.publisher()
    publisher.start()
    at: list[int] = []
    for number in range(1, 121):
        world.teach(publisher, 1)
        if publisher.published > len(at):
            at.append(number)
    # at once, then 8 at least, then half of what there was, but 20 at most
    assert at == [1, 9, 17, 25, 37, 55, 75, 95, 115]
    assert publisher.error is None
    manifests = world.store.releases(TASK)
    assert [m.stats["annotations"] for m in manifests] == at[::-1]
    assert [m.parent for m in manifests] == [*(m.release for m in manifests[1:]), None]
    assert publisher.parent == world.store.head(TASK) == manifests[0].release


def test_what_is_published_is_what_the_trainer_has(world: World) -> None:
    trainer = build_trainer(chosen())
    publisher = world.publisher(trainer=trainer)
    publisher.start()
    world.teach(publisher, 8)
    head = world.store.head(TASK)
    assert head is not None
    assert equal(world.store.load(TASK, head).tensors, trainer.tensors())


def test_failures_publish_nothing_and_are_settled(world: World) -> None:
    publisher = world.publisher()
    publisher.start()
    world.teach(publisher, 0, failures=30)
    assert world.ledger.usage().settled == 30
    world.teach(publisher, 0, failures=1)
    assert world.ledger.usage().settled == 31
    assert world.store.head(TASK) is None


def test_frozen_learns_and_publishes_nothing_but_settles(world: World) -> None:
    trainer = build_trainer(chosen())
    publisher = world.publisher(LearningSettings(frozen=True, release_every=1), trainer)
    publisher.start()
    before = trainer.tensors()
    world.teach(publisher, 50)
    assert (publisher.published, world.store.head(TASK)) == (0, None)
    assert equal(trainer.tensors(), before)
    assert world.ledger.usage().settled == 50


def test_a_fresh_trainer_builds_on_the_head(world: World) -> None:
    first = world.publisher()
    first.start()
    world.teach(first, 8)
    head = world.store.head(TASK)
    assert head is not None

    trainer = build_trainer(chosen())
    second = world.publisher(trainer=trainer)
    second.start()
    assert (second.adopted, second.parent) == (1, head)
    assert equal(trainer.tensors(), world.store.load(TASK, head).tensors)
    world.teach(second, 8)
    assert second.published == 1
    assert world.store.releases(TASK)[0].parent == head


def test_a_restored_trainer_keeps_what_it_learned(world: World) -> None:
    first_trainer = build_trainer(chosen())
    first = world.publisher(trainer=first_trainer)
    first.start()
    world.teach(first, 13)
    trainer = build_trainer(chosen())
    trainer.restore(first_trainer.snapshot())
    second = world.publisher(trainer=trainer)
    second.start()
    assert second.adopted == 0
    assert equal(trainer.tensors(), first_trainer.tensors())
    assert second.parent == world.store.head(TASK)
    world.teach(second, 8)
    assert second.published == 1


def test_a_rollback_is_followed_and_built_on(world: World) -> None:
    trainer = build_trainer(chosen())
    publisher = world.publisher(trainer=trainer)
    publisher.start()
    for _ in range(3):
        world.teach(publisher, 8)
    oldest = world.store.releases(TASK)[-1]
    published = publisher.published
    world.store.rollback(TASK, oldest.release)

    while publisher.adopted == 0:
        world.teach(publisher, 4)
    assert isinstance(publisher.error, HeadConflict)
    assert publisher.published == published
    assert equal(trainer.tensors(), world.store.load(TASK, oldest.release).tensors)
    # What led to the conflict is gone: the next release waits for as much that is new.
    world.teach(publisher, 4)
    assert publisher.published == published
    while publisher.published == published:
        world.teach(publisher, 4)
    assert publisher.error is None
    newest = world.store.releases(TASK)[0]
    assert (newest.parent, world.store.head(TASK)) == (oldest.release, newest.release)


def test_a_store_that_is_down_is_remembered_and_tried_again(world: World) -> None:
    publisher = world.publisher()
    publisher.start()
    world.backend.down = True
    for _ in range(3):
        world.teach(publisher, 8)
    assert isinstance(publisher.error, StoreUnavailable)
    assert publisher.published == 0
    world.backend.down = False
    world.teach(publisher, 1)
    assert publisher.error is None
    assert publisher.published == 1
    assert world.store.releases(TASK)[0].stats["annotations"] == 25


def test_a_store_that_is_down_at_the_start_stops_nothing(world: World) -> None:
    world.backend.down = True
    publisher = world.publisher()
    publisher.start()
    assert isinstance(publisher.error, StoreUnavailable)
    world.backend.down = False
    world.teach(publisher, 8)
    assert publisher.published == 1


def test_a_store_that_lost_its_data_gets_a_first_release_again(world: World) -> None:
    publisher = world.publisher()
    publisher.start()
    world.teach(publisher, 8)
    world.backend._tasks.clear()
    while publisher.published == 1:
        world.teach(publisher, 8)
    assert [m.parent for m in world.store.releases(TASK)] == [None]


def test_a_ledger_that_is_down_is_remembered_and_stops_nothing(world: World) -> None:
    publisher = world.publisher(ledger=DownLedger())
    publisher.start()
    world.teach(publisher, 8)
    assert isinstance(publisher.error, StoreUnavailable)
    assert publisher.published == 1


def test_lessons_repeated_after_a_restore_publish_nothing(world: World) -> None:
    trainer = build_trainer(chosen())
    publisher = world.publisher(trainer=trainer)
    publisher.start()
    publisher.learn(Lesson(tuple(notes(30)), 30))
    assert (trainer.annotations, publisher.published) == (30, 0)


FOREIGN: dict[str, Callable[[], tuple[CascadeSettings, CascadeSettings]]] = {
    "the paper's policy": lambda: (chosen(paper=True), chosen()),
    "the budgeted policy": lambda: (chosen(), chosen(paper=True)),
    "more levels": lambda: (chosen(), chosen(chosen().levels[:1])),
    "fewer levels": lambda: (chosen(chosen().levels[:1]), chosen()),
}


@pytest.mark.parametrize("kinds", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_head_of_another_making_is_no_reason_to_fail(
    world: World, kinds: Callable[[], tuple[CascadeSettings, CascadeSettings]]
) -> None:
    """Changing the policy or the levels of a task is a restart, not a crash loop."""
    theirs, ours = kinds()
    first = world.publisher(trainer=build_trainer(theirs))
    first.start()
    world.teach(first, 8)
    head = world.store.head(TASK)
    trainer = build_trainer(ours)
    before = trainer.tensors()
    second = world.publisher(trainer=trainer)
    second.start()
    assert second.error is not None
    assert equal(trainer.tensors(), before)
    world.teach(second, 8)
    assert second.published == 1
    assert world.store.releases(TASK)[0].parent == head


def test_weights_that_diverged_are_not_published(world: World) -> None:
    class Diverged(Trainer):
        def tensors(self) -> dict[str, Any]:
            return super().tensors() | {"first/bias": np.full(3, np.nan, np.float32)}

    sound = build_trainer(chosen())
    publisher = world.publisher(trainer=Diverged(sound._learners, sound._policy))
    publisher.start()
    world.teach(publisher, 8)
    assert (publisher.published, world.store.head(TASK)) == (0, None)
    assert "NaN" in str(publisher.error)


def test_a_trainer_restored_while_the_store_was_down_keeps_what_it_knows(world: World) -> None:
    first = world.publisher()
    first.start()
    world.teach(first, 8)
    restored = build_trainer(chosen())
    restored.learn(notes(20, 0), 20)
    before = restored.stats()["annotations"]
    world.backend.down = True
    publisher = world.publisher(trainer=restored)
    publisher.start()
    world.backend.down = False
    for _ in range(3):
        world.teach(publisher, 8)
    assert publisher.adopted == 0
    assert world.store.releases(TASK)[0].stats["annotations"] > before

"""Lessons are taken in at once, learned in order, and survive from the log."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from operators.assembly import build_trainer
from operators.core import intake
from operators.core.intake import Intake, Learned
from operators.core.publisher import Publisher
from operators.core.trainer import Trainer
from operators.records import Lesson, pack
from tests.operators.core.test_publisher import World
from tests.operators.core.test_trainer import chosen, notes
from tests.operators.fakes import Later


def lesson(number: int, size: int = 3) -> bytes:
    return pack([Lesson(tuple(notes(size, number * size)), size)])


class Desk:
    """An intake, and what it works for."""

    def __init__(self) -> None:
        self.world = World()
        self.later = Later()
        self.trainer: Trainer = build_trainer(chosen())
        self.publisher: Publisher = self.world.publisher(trainer=self.trainer)
        self.publisher.start()
        self.intake = Intake(self.publisher, self.trainer, self.later)

    def take(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.intake.take(lesson(number))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_lesson_is_taken_in_before_it_is_learned(desk: Desk) -> None:
    desk.take(range(3))
    assert desk.trainer.annotations == 0
    assert list(desk.intake.collect()) == []
    assert desk.intake.backlog == 3
    desk.later.work()
    assert [one.lesson.settled for one in desk.intake.collect()] == [3, 3, 3]
    assert desk.intake.backlog == 0
    assert desk.trainer.annotations == 9


def test_news_come_with_the_lesson_that_led_to_a_release(desk: Desk) -> None:
    desk.take(range(4))
    desk.later.work()
    news = [one.news for one in desk.intake.collect()]
    assert [n is not None for n in news] == [True, False, False, True]  # 8 more annotations
    assert news[-1] is not None
    assert news[-1]["release"] == desk.publisher.parent
    assert news[-1]["status"] == "promoted"
    assert news[-1]["annotations"] == 12


def test_a_store_that_is_down_is_a_problem_of_each_lesson_that_met_it(desk: Desk) -> None:
    desk.world.backend.down = True
    desk.take([0])
    desk.world.backend.down = True
    desk.later.work()
    (one,) = desk.intake.collect()
    assert one.news is None
    assert one.problem is not None
    assert "refused" in one.problem


def test_finishing_waits_for_what_is_left() -> None:
    desk = Desk()
    with ThreadPoolExecutor(1) as thread:
        taking = Intake(desk.publisher, desk.trainer, thread)
        for number in range(intake._BACKLOG * 3):  # more than may wait: `take` waits for some
            taking.take(lesson(number))
        learned = list(taking.finish())
    assert len(learned) == intake._BACKLOG * 3
    assert desk.trainer.annotations == 3 * len(learned)


def test_what_learning_raises_reaches_the_caller(desk: Desk) -> None:
    with ThreadPoolExecutor(1) as thread:
        taking = Intake(desk.publisher, desk.trainer, thread)
        taking.take(b"no lesson")
        with pytest.raises(msgspec.ValidationError, match="Expected `array`"):
            list(taking.finish())


def test_snapshot_and_log_bring_the_trainer_back(desk: Desk) -> None:
    kept: bytes | None = None
    log: list[tuple[bytes, Learned]] = []
    for number in range(intake.SNAPSHOT_EVERY + 9):
        desk.take([number])
        desk.later.work()
        for one in desk.intake.collect():
            log.append((lesson(number), one))
            if one.snapshot is not None:
                kept, log = one.snapshot, []
    assert kept is not None
    assert len(log) == 9
    heir = build_trainer(chosen())
    heir.restore(kept)
    publisher = desk.world.publisher(trainer=heir)
    for data, one in log:
        publisher.learn(intake.unpack(data, Lesson)[0], one.turns)
    assert heir.snapshot() == desk.trainer.snapshot()


def test_adopting_a_release_asks_for_a_snapshot(desk: Desk) -> None:
    desk.take(range(4))
    desk.later.work()
    assert all(one.snapshot is None for one in desk.intake.collect())
    first = desk.world.store.releases("t")[-1].release
    desk.world.store.rollback("t", first)
    desk.take(range(4, 7))  # the next release meets another head
    desk.later.work()
    snapshots = [one.snapshot for one in desk.intake.collect()]
    assert [s is not None for s in snapshots] == [False, False, True]
    assert desk.publisher.adopted == 1

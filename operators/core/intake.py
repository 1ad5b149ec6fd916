"""Takes lessons in at once, and has them learned in order behind the caller's back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from model_store.manifest import StatValue
from operators.core.publisher import Publisher
from operators.core.trainer import Trainer
from operators.records import Lesson, unpack

SNAPSHOT_EVERY = 64  # lessons
_BACKLOG = 8  # lessons that may wait to be learned; a release must not lag further behind


@dataclass(frozen=True)
class Learned:
    """What became of a lesson.

    Parameters
    ----------
    turns
        Levels to which it gave a turn to learn in the background.
    news
        Of the release that it led to, promoted or rejected; None if it led to none.
    problem
        Why the store could not be reached, if it could not.
    snapshot
        Of the trainer just after it, every now and then: what went before is not needed any more.
    """

    lesson: Lesson
    turns: tuple[str, ...]
    news: dict[str, StatValue] | None
    problem: str | None
    snapshot: bytes | None


class Intake:
    """The way of a lesson to the publisher.

    Learning embeds texts and publishes megabytes; whoever brings a lesson waits for none of that.
    A lesson is safe once it stands in the caller's log: the log since the last snapshot, with the
    turns that were given, brings the trainer back.

    Parameters
    ----------
    executor
        Of one thread, the only one that touches publisher and trainer from the first `take` on.
    """

    def __init__(self, publisher: Publisher, trainer: Trainer, executor: Executor) -> None:
        self._publisher = publisher
        self._trainer = trainer
        self._executor = executor
        self._waiting: deque[Future[Learned]] = deque()
        self._since_snapshot = 0
        self._adopted = 0  # what the publisher adopted at its start stands in no log either

    @property
    def backlog(self) -> int:
        """Lessons taken in and not collected yet."""
        return len(self._waiting)

    def take(self, lesson: bytes) -> None:
        """Take in a packed lesson."""
        if self.backlog >= _BACKLOG:
            self._waiting[self.backlog - _BACKLOG].result()
        self._waiting.append(self._executor.submit(self._learn, lesson))

    def collect(self) -> Iterator[Learned]:
        """What was learned since, in the order of the lessons; raises what learning raised."""
        while self._waiting and self._waiting[0].done():
            yield self._waiting.popleft().result()

    def finish(self) -> Iterator[Learned]:
        """Wait until all is learned, and collect it."""
        while self._waiting:
            yield self._waiting.popleft().result()

    def _learn(self, data: bytes) -> Learned:
        publisher, trainer = self._publisher, self._trainer
        (lesson,) = unpack(data, Lesson)
        made = publisher.take(lesson)
        news = None if made is None else made.news()
        problem = str(publisher.error) if publisher.error is not None else None
        return Learned(lesson, trainer.turns, news, problem, self._snapshot_if_due())

    def _snapshot_if_due(self) -> bytes | None:
        self._since_snapshot += 1
        # A trainer that adopted a release is no longer what its lessons made of it.
        adopted = self._publisher.adopted != self._adopted
        if self._since_snapshot < SNAPSHOT_EVERY and not adopted:
            return None
        self._since_snapshot, self._adopted = 0, self._publisher.adopted
        return self._trainer.snapshot()

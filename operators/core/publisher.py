"""Closes the loop: teaches the trainer, and publishes what it learned as releases."""

from __future__ import annotations

from collections.abc import Collection

from model_store.errors import HeadConflict, StoreError
from model_store.ledger import Ledger
from model_store.store import ModelStore
from operators.core.trainer import Trainer
from operators.records import Lesson
from operators.settings import LearningSettings


class Publisher:
    """Takes in lessons and publishes releases when enough is new.

    A store that is down costs nothing but freshness: learning goes on, and the next lesson tries
    again.

    Parameters
    ----------
    task
        Name of the task.
    """

    def __init__(
        self,
        task: str,
        trainer: Trainer,
        store: ModelStore,
        ledger: Ledger,
        settings: LearningSettings,
    ) -> None:
        self._task = task
        self._trainer = trainer
        self._store = store
        self._ledger = ledger
        self._settings = settings
        self._published_at = 0
        self._parent: str | None = None
        self._knows_parent = False
        self._restored = False
        self.error: StoreError | None = None
        """Why the last attempt to reach the store failed, if it did."""
        self.published = 0
        """Releases published by this object."""
        self.adopted = 0
        """Releases that the trainer went on from: what it was before is gone."""

    @property
    def parent(self) -> str | None:
        """The release that the next one builds on."""
        return self._parent

    def start(self) -> None:
        """Build on the head that is there: adopt it if the trainer has learned nothing itself."""
        self._restored = self._trainer.annotations > 0
        try:
            self._parent = self._store.head(self._task)
            self._knows_parent = True
            if self._parent is not None and not self._restored:
                self._adopt(self._parent)
        except StoreError as error:
            self.error = error
        self._published_at = self._trainer.annotations

    def take(self, lesson: Lesson) -> None:
        """Learn a chunk's lesson, publish if it is time, and report the verdicts as settled."""
        self.learn(lesson)
        if self._due():
            self._publish()
        try:
            self._ledger.settle(self._trainer.settled, self._trainer.disagreeing)
        except StoreError as error:
            self.error = error

    def learn(self, lesson: Lesson, turns: Collection[str] | None = None) -> None:
        """Learn without publishing: also how lessons are repeated after a restore.

        Parameters
        ----------
        turns
            Of the trainer, when it learned this lesson before.
        """
        annotations = () if self._settings.frozen else lesson.annotations
        self._trainer.learn(annotations, lesson.settled, lesson.audits, turns)

    def _due(self) -> bool:
        new = self._trainer.annotations - self._published_at
        if self._parent is None and not self._settings.frozen:
            return new > 0  # the first release ends the warm-up: the sooner the better
        growth = int(self._published_at * self._settings.release_growth)
        wanted = max(self._settings.release_every, min(growth, self._settings.release_at_most))
        return new >= wanted

    def _publish(self) -> None:
        try:
            manifest = self._store.publish(
                self._task,
                self._trainer.tensors(),
                parent=self._parent,
                stats=self._trainer.stats(),
            )
        except HeadConflict as conflict:
            self._follow(conflict)
        except StoreError as error:
            self.error = error
        else:
            self._parent, self._published_at = manifest.release, self._trainer.annotations
            self.published += 1
            self.error = None

    def _follow(self, conflict: HeadConflict) -> None:
        """Someone moved the head, by a rollback as a rule: go on from there.

        A trainer that was restored while the store was down learns only now what the head is, and
        keeps what it knows.
        """
        self.error = conflict
        if self._restored and not self._knows_parent:
            self._parent, self._knows_parent = conflict.actual, True
            return
        try:
            if conflict.actual is not None:
                self._adopt(conflict.actual)
        except StoreError as error:
            self.error = error
            return
        self._parent, self._published_at = conflict.actual, self._trainer.annotations

    def _adopt(self, release: str) -> None:
        self._trainer.adopt(self._store.load(self._task, release))
        self.adopted += 1

"""Closes the loop: teaches the trainer, and publishes what it learned as releases."""

from __future__ import annotations

from collections.abc import Collection

from model_store.errors import HeadConflict, StoreError
from model_store.ledger import Ledger
from model_store.manifest import Manifest
from model_store.store import ModelStore
from operators.audit.alarm import AgreementAlarm
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
    alarm
        Looks at the counts after each lesson; None where there is no target for it.
    """

    def __init__(
        self,
        task: str,
        trainer: Trainer,
        store: ModelStore,
        ledger: Ledger,
        settings: LearningSettings,
        alarm: AgreementAlarm | None = None,
    ) -> None:
        self._task = task
        self._trainer = trainer
        self._store = store
        self._ledger = ledger
        self._settings = settings
        self._alarm = alarm
        self._ruled_at = 0
        self._in_a_row = 0  # rejections
        self._parent: str | None = None
        self._knows_parent = False
        self._restored = False
        self.error: StoreError | None = None
        """Why the last attempt to reach the store failed, if it did."""
        self.published = 0
        """Releases of this object that became the head."""
        self.rejected = 0
        """Releases of this object that the gate did not let through."""
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
            self._meet(self._store.head(self._task))
        except StoreError as error:
            self.error = error
        self._ruled_at = self._trainer.annotations

    def _meet(self, head: str | None) -> None:
        """Build on a head that was not known before; a restored trainer keeps what it knows."""
        self._parent, self._knows_parent = head, True
        if head is None:
            return
        if self._restored:
            self._trainer.compare_with(self._store.load(self._task, head))
        else:
            self._adopt(head)

    def take(self, lesson: Lesson) -> Manifest | None:
        """Learn a chunk's lesson, publish if it is time, and report the verdicts as settled.

        Returns
        -------
        The release that this led to, promoted or rejected; None if it led to none.
        """
        self.learn(lesson)
        made = self._publish() if self._due() else None
        try:
            self._ledger.settle(self._trainer.settled, self._trainer.disagreeing)
            if self._alarm is not None:
                self._alarm.look(self._ledger.usage())
        except StoreError as error:
            self.error = error
        return made

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
        new = self._trainer.annotations - self._ruled_at
        if self._parent is None and not self._settings.frozen:
            return new > 0  # the first release ends the warm-up: the sooner the better
        growth = int(self._ruled_at * self._settings.release_growth)
        wanted = max(self._settings.release_every, min(growth, self._settings.release_at_most))
        return new >= wanted

    def _publish(self) -> Manifest | None:
        """Publish a candidate: as the head if the gate lets it through, else to be looked at.

        A trainer whose candidate is rejected goes on: what it learns next may make up for it. If
        that goes on, it starts again from the head.
        """
        ruling = self._trainer.rule() if self._parent is not None else None
        try:
            manifest = self._store.publish(
                self._task,
                self._trainer.tensors(),
                parent=self._parent,
                stats=self._trainer.stats() | (ruling.stats() if ruling else {}),
                rejected=ruling.reason if ruling else None,
            )
        except HeadConflict as conflict:
            self._follow(conflict)
        except StoreError as error:
            self.error = error
        else:
            self._ruled_at = self._trainer.annotations
            self.error = None
            if manifest.rejected is None:
                self._parent = manifest.release
                self._trainer.serve()
                self.published += 1
                self._in_a_row = 0
            else:
                self.rejected += 1
                self._in_a_row += 1
                self._give_up_if_hopeless(manifest.parent)
            return manifest
        return None

    def _give_up_if_hopeless(self, head: str | None) -> None:
        gate = self._settings.gate
        if gate is None or head is None or self._in_a_row < gate.patience:
            return
        try:
            self._adopt(head)
        except StoreError as error:
            self.error = error  # the next rejection tries again
        else:
            self._in_a_row, self._ruled_at = 0, self._trainer.annotations

    def _follow(self, conflict: HeadConflict) -> None:
        """Someone moved the head, by a rollback as a rule: go on from there.

        A trainer that was restored while the store was down learns only now what the head is, and
        keeps what it knows.
        """
        self.error = conflict
        try:
            if self._restored and not self._knows_parent:
                self._meet(conflict.actual)
                return
            if conflict.actual is not None:
                self._adopt(conflict.actual)
        except StoreError as error:
            self.error = error
            return
        self._parent, self._ruled_at = conflict.actual, self._trainer.annotations

    def _adopt(self, release: str) -> None:
        self._trainer.adopt(self._store.load(self._task, release))
        self.adopted += 1

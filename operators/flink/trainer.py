"""The trainer inside Flink: keyed by task, learns lesson by lesson, publishes releases."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ListStateDescriptor, ValueStateDescriptor

from operators.assembly import build_trainer
from operators.core.publisher import Publisher
from operators.flink.connection import StoreConnection
from operators.flink.telemetry import TrainerTelemetry
from operators.flink.types import BYTES
from operators.records import Lesson, unpack
from operators.settings import CascadeSettings

_log = logging.getLogger(__name__)
_LESSONS_IN_LOG = 64


class TrainerFunction(KeyedProcessFunction):
    """Lessons in; a JSON line for each published release out.

    The trainer is megabytes, a lesson is kilobytes: state is a snapshot and a log of the lessons
    since. Learning is deterministic, so the two give back the trainer exactly.
    """

    def __init__(self, settings: CascadeSettings, connection: StoreConnection) -> None:
        self._settings = settings
        self._connection = connection
        self._publisher: Publisher | None = None

    def open(self, runtime_context: RuntimeContext) -> None:
        """Declare the state; it can be read only with the first lesson."""
        self._snapshot = runtime_context.get_state(ValueStateDescriptor("snapshot", BYTES))
        self._lessons = runtime_context.get_list_state(ListStateDescriptor("lessons", BYTES))
        self._telemetry = TrainerTelemetry(runtime_context.get_metrics_group(), self._settings)

    def process_element(
        self, value: tuple[str, bytes], ctx: KeyedProcessFunction.Context
    ) -> Iterator[str]:
        """Learn one chunk's lesson."""
        publisher = self._publisher or self._start()
        (lesson,) = unpack(bytes(value[1]), Lesson)
        published = publisher.published
        publisher.take(lesson)
        self._keep(bytes(value[1]), publisher.adopted)
        self._telemetry.lesson(lesson)
        if publisher.error is not None:
            _log.warning("model store: %s", publisher.error)
        if publisher.published > published:
            yield json.dumps({"release": publisher.parent, **self._trainer.stats()})

    def _start(self) -> Publisher:
        self._trainer = build_trainer(self._settings)
        publisher = Publisher(
            self._connection.task,
            self._trainer,
            self._connection.store(),
            self._connection.ledger(),
            self._settings.learning,
        )
        snapshot = self._snapshot.value()
        if snapshot is not None:
            self._trainer.restore(bytes(snapshot))
        lessons = [unpack(bytes(data), Lesson)[0] for data in self._lessons.get() or ()]
        for lesson in lessons:
            publisher.learn(lesson)
        self._logged, self._adopted = len(lessons), 0
        publisher.start()
        self._telemetry.watch(self._trainer, publisher)
        self._publisher = publisher
        return publisher

    def _keep(self, lesson: bytes, adopted: int) -> None:
        self._logged += 1
        # A trainer that adopted a release is no longer what its lessons made of it.
        if self._logged < _LESSONS_IN_LOG and adopted == self._adopted:
            self._lessons.add(lesson)
            return
        self._adopted = adopted
        self._snapshot.update(self._trainer.snapshot())
        self._lessons.clear()
        self._logged = 0

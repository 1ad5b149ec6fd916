"""The trainer inside Flink: keyed by task, learns lesson by lesson, publishes releases."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest

import msgspec
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ListStateDescriptor, ValueStateDescriptor

from operators.assembly import build_alarm, build_trainer
from operators.core.intake import Intake, Learned
from operators.core.publisher import Publisher
from operators.flink.connection import StoreConnection
from operators.flink.telemetry import TrainerTelemetry
from operators.flink.types import BYTES
from operators.records import Lesson, unpack
from operators.settings import CascadeSettings

_log = logging.getLogger(__name__)
_LOOK_AGAIN_MS = 50
_END_OF_TIME_MS = (1 << 63) - 1  # the watermark behind the last element of a source that ends


class TrainerFunction(KeyedProcessFunction):
    """Lessons in; a JSON line for each release out, promoted or rejected, a moment later.

    The trainer is megabytes, a lesson is kilobytes: state is a snapshot, a log of the lessons
    since, and the turns that those gave to learn in the background. Learning is deterministic, so
    the three give back the trainer exactly. State is touched here alone: lessons are learned on a
    thread of their own, and gradient steps made on another.
    """

    def __init__(self, settings: CascadeSettings, connection: StoreConnection) -> None:
        self._settings = settings
        self._connection = connection
        self._intake: Intake | None = None

    def open(self, runtime_context: RuntimeContext) -> None:
        """Declare the state; it can be read only with the first lesson."""
        self._snapshot = runtime_context.get_state(ValueStateDescriptor("snapshot", BYTES))
        self._lessons = runtime_context.get_list_state(ListStateDescriptor("lessons", BYTES))
        self._turns = runtime_context.get_list_state(ListStateDescriptor("turns", BYTES))
        self._threads = [
            ThreadPoolExecutor(1, thread_name_prefix=name) for name in ("lessons", "steps")
        ]
        self._telemetry = TrainerTelemetry(runtime_context.get_metrics_group(), self._settings)

    def process_element(
        self, value: tuple[str, bytes], ctx: KeyedProcessFunction.Context
    ) -> Iterator[str]:
        """Take in one chunk's lesson; tell of what was learned since the last one."""
        intake = self._intake or self._start()
        data = bytes(value[1])
        self._lessons.add(data)
        self._logged.append(data)
        intake.take(data)
        # A source that ends does not wait for what is learned behind its back.
        ctx.timer_service().register_event_time_timer(_END_OF_TIME_MS)
        yield from self._tell(intake.collect())
        self._look_again(intake, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[str]:
        """Tell of what was learned since; of all that is left when the source has ended."""
        intake = self._intake or self._start()
        ended = timestamp == _END_OF_TIME_MS
        yield from self._tell(intake.finish() if ended else intake.collect())
        self._look_again(intake, ctx)

    def _look_again(self, intake: Intake, ctx: KeyedProcessFunction.Context) -> None:
        if intake.backlog:
            timers = ctx.timer_service()
            timers.register_processing_time_timer(timers.current_processing_time() + _LOOK_AGAIN_MS)

    def close(self) -> None:
        """Leave what is not learned yet to the log."""
        for thread in self._threads:
            thread.shutdown(cancel_futures=True)

    def _start(self) -> Intake:
        lessons_thread, steps_thread = self._threads
        trainer = build_trainer(self._settings, executor=steps_thread)
        alarm = build_alarm(self._settings)
        publisher = Publisher(
            self._connection.task,
            trainer,
            self._connection.store(),
            self._connection.ledger(),
            self._settings.learning,
            alarm,
        )
        snapshot = self._snapshot.value()
        if snapshot is not None:
            trainer.restore(bytes(snapshot))
        lessons = [bytes(data) for data in self._lessons.get() or ()]
        turns = [_unpack_turns(data) for data in self._turns.get() or ()]
        for data, given in zip_longest(lessons, turns):
            publisher.learn(unpack(data, Lesson)[0], given)
            if given is None:
                self._turns.add(_pack_turns(trainer.turns))
        publisher.start()
        self._logged = deque(lessons)
        self._known = len(lessons)  # of those in the log, how many are learned
        self._intake = Intake(publisher, trainer, lessons_thread)
        self._telemetry.watch(trainer, publisher, self._intake, alarm)
        return self._intake

    def _tell(self, learned: Iterable[Learned]) -> Iterator[str]:
        for one in learned:
            self._note(one)
            self._telemetry.lesson(one.lesson)
            if one.problem is not None:
                _log.warning("model store: %s", one.problem)
            if one.news is not None:
                yield json.dumps(one.news)

    def _note(self, learned: Learned) -> None:
        self._known += 1
        if learned.snapshot is None:
            self._turns.add(_pack_turns(learned.turns))
            return
        self._snapshot.update(learned.snapshot)
        for _ in range(self._known):
            self._logged.popleft()
        self._known = 0
        self._lessons.update(list(self._logged))
        self._turns.clear()


def _pack_turns(levels: tuple[str, ...]) -> bytes:
    return msgspec.msgpack.encode(levels)


def _unpack_turns(data: bytes) -> tuple[str, ...]:
    return msgspec.msgpack.decode(bytes(data), type=tuple[str, ...])

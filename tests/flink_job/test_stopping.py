from __future__ import annotations

import logging
import os
import signal
import threading

import pytest

from flink_job.stopping import WRITING, Savepoint, Stopping, on_signals, root_cause


class Pending:
    """A savepoint under way, that succeeds or fails when it is told to."""

    def __init__(self) -> None:
        self.outcome: str | Exception | None = None

    def isDone(self) -> bool:
        return self.outcome is not None

    def get(self) -> str:
        assert self.outcome is not None
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Flink:
    def __init__(self) -> None:
        self.clock_s = 100.0
        self.asked: list[Pending] = []
        self.stopping = Stopping(self._begin, lambda: self.clock_s)

    def _begin(self) -> Savepoint:
        self.asked.append(Pending())
        return self.asked[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with on_signals() as request:
        request.running = True
        assert not request.requested
        os.kill(os.getpid(), number)
        assert request.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(number) is before
    assert logging.root.manager.disable == logging.NOTSET


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_is_not_running_yet_is_interrupted_at_once(number: signal.Signals) -> None:
    with on_signals() as request:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert request.requested


def test_outside_of_the_main_thread_signals_are_left_alone() -> None:
    seen: list[bool] = []

    def use() -> None:
        with on_signals() as request:
            seen.append(request.requested)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert seen == [False]


def test_a_savepoint_is_asked_for_once() -> None:
    flink = Flink()
    assert flink.stopping.note == WRITING
    for _ in range(3):
        flink.stopping.attend()
    (pending,) = flink.asked
    assert flink.stopping.savepoint is None
    pending.outcome = "file:/s-1"
    for _ in range(3):
        flink.stopping.attend()
    flink.stopping.conclude()
    assert flink.stopping.savepoint == "file:/s-1"
    assert len(flink.asked) == 1


def test_a_savepoint_that_fails_is_tried_again_after_a_while() -> None:
    flink = Flink()
    flink.stopping.attend()
    flink.asked[0].outcome = RuntimeError("x\nCaused by: java.io.IOException: No space left\n")
    flink.stopping.attend()
    assert flink.stopping.note.endswith("The reason: java.io.IOException: No space left")
    flink.stopping.attend()
    assert len(flink.asked) == 1
    flink.clock_s += 60
    flink.stopping.attend()
    flink.asked[1].outcome = "file:/s-2"
    flink.stopping.conclude()  # the job has ended meanwhile
    assert flink.stopping.savepoint == "file:/s-2"


def test_a_job_that_came_to_its_end_first_has_no_savepoint() -> None:
    flink = Flink()
    flink.stopping.attend()
    flink.asked[0].outcome = RuntimeError("the job is done")
    flink.stopping.conclude()
    assert flink.stopping.savepoint is None
    never_asked = Flink()
    never_asked.stopping.conclude()
    assert never_asked.stopping.savepoint is None


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("a\n\tat b\nCaused by: c: d\n\tat e\nCaused by: f: g\n\tat h", "f: g"),
        ("a: b\n\tat c", "a: b"),
        ("", "RuntimeError"),
    ],
)
def test_the_last_cause_counts(message: str, cause: str) -> None:
    assert root_cause(RuntimeError(message)) == cause

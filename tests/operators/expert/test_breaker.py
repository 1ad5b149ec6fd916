from __future__ import annotations

import contextlib

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from operators.expert.breaker import Breaker
from operators.expert.port import ExpertBusy, ExpertError, ExpertRefused, ExpertUnavailable
from operators.settings import BreakerSettings

SETTINGS = BreakerSettings(failures=3, first_open_s=1, longest_open_s=6)
ANSWERS = (None, ExpertRefused("nonsense"), ExpertBusy("rate_limit"))


class Line:
    """Calls through a breaker, at a time that stands still unless it is moved."""

    def __init__(self, settings: BreakerSettings = SETTINGS) -> None:
        self.now = 50.0
        self.breaker = Breaker(settings, lambda: self.now)

    def call(self, outcome: Exception | None = None) -> bool:
        """Whether the call was made."""
        made = False
        with contextlib.suppress(ExpertError), self.breaker.guard():
            made = True
            if outcome is not None:
                raise outcome
        return made

    def fail(self) -> bool:
        return self.call(ExpertUnavailable("server_error"))


def test_so_many_failures_on_end_open_it() -> None:
    line = Line()
    assert [line.fail() for _ in range(5)] == [True, True, True, False, False]
    with pytest.raises(ExpertError, match="circuit_open") as caught, line.breaker.guard():
        pytest.fail("it is open")
    assert not caught.value.reached
    assert not isinstance(caught.value, ExpertUnavailable)  # nothing to try again


@pytest.mark.parametrize("answer", ANSWERS, ids=str)
def test_an_answer_in_between_keeps_it_closed(answer: Exception | None) -> None:
    line = Line()
    for _ in range(4):
        assert line.fail()
        assert line.fail()
        assert line.call(answer)


@pytest.mark.parametrize("answer", ANSWERS, ids=str)
def test_a_probe_that_is_answered_closes_it(answer: Exception | None) -> None:
    line = Line()
    for _ in range(3):
        line.fail()
    line.now += 1
    assert line.call(answer)
    assert [line.fail() for _ in range(4)] == [True, True, True, False]
    line.now += 1  # and it opens for the first time again
    assert line.fail()


def test_each_probe_that_fails_opens_it_for_longer_up_to_a_bound() -> None:
    line = Line()
    for _ in range(3):
        line.fail()
    for open_s in (1, 2, 4, 6, 6):
        line.now += open_s - 0.001
        assert not line.call()
        line.now += 0.001
        assert line.fail()


def test_one_probe_at_a_time() -> None:
    line = Line()
    for _ in range(3):
        line.fail()
    line.now += 1
    with line.breaker.guard():
        assert not line.call()
    assert line.call()


def test_a_probe_that_is_called_off_leaves_room_for_another() -> None:
    line = Line()
    for _ in range(3):
        line.fail()
    line.now += 1
    with pytest.raises(KeyboardInterrupt), line.breaker.guard():
        raise KeyboardInterrupt
    assert line.call()


def test_calls_that_were_under_way_when_it_opened_do_not_keep_it_open() -> None:
    line = Line()
    late = [line.breaker.guard() for _ in range(2)]
    for guard in late:
        guard.__enter__()
    for _ in range(3):
        line.fail()
    line.now += 0.9
    error = ExpertUnavailable("timeout")
    assert not late[0].__exit__(type(error), error, None)
    line.now += 0.1
    assert line.fail()
    late[1].__exit__(None, None, None)  # it is there after all
    assert line.call()


class AnyCourse(RuleBasedStateMachine):
    """Whatever happens, it ends: some time after the last failure a call goes through."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line()
        self.on_end = 0

    @rule(seconds=st.floats(0, 10))
    def wait(self, seconds: float) -> None:
        self.line.now += seconds

    @rule()
    def fail(self) -> None:
        self.on_end += self.line.fail()

    @rule(answer=st.sampled_from(ANSWERS))
    def answer(self, answer: Exception | None) -> None:
        if self.line.call(answer):
            self.on_end = 0

    @precondition(lambda self: self.on_end < SETTINGS.failures)
    @invariant()
    def closed(self) -> None:
        assert self.line.breaker._open_until is None

    @precondition(lambda self: self.on_end >= SETTINGS.failures)
    @invariant()
    def open_for_a_bounded_time(self) -> None:
        until = self.line.breaker._open_until
        assert until is not None
        assert until <= self.line.now + SETTINGS.longest_open_s


TestAnyCourse = AnyCourse.TestCase

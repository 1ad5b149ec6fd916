"""Calls under way: nothing waits for them, and each deferral gets one verdict."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.budget import SpendingPlan
from operators.expert.breaker import Breaker
from operators.expert.calls import Calls
from operators.expert.desk import ExpertDesk
from operators.expert.failures import Failure
from operators.expert.port import Expert, Reply
from operators.records import Deferral, Event, Reason
from operators.settings import BreakerSettings, PriceSettings, RetrySettings
from tests.operators.fakes import event, memory_ledger


class HeldExpert:
    """Answers an event when it is let go: a text `slow...` by `release`, others at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.closed = False
        self._held: dict[str, asyncio.Event] = {}
        self.began = threading.Semaphore(0)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, event: Event) -> Reply:
        self.asked.append(event.id)
        self._loop = asyncio.get_running_loop()
        if event.text.startswith("slow"):
            held = self._held[event.id] = asyncio.Event()
            self.began.release()
            await held.wait()
        return Reply("ok")

    def release(self, name: str) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._held[name].set)

    async def close(self) -> None:
        self.closed = True


def desk(expert: Expert) -> ExpertDesk:
    return ExpertDesk(
        expert,
        ["ok"],
        memory_ledger(),
        SpendingPlan(None),
        retry=RetrySettings(attempts=1),
        price=PriceSettings(),
        breaker=Breaker(BreakerSettings(), time.monotonic),
        concurrency=100,
        sleep=asyncio.sleep,
        monotonic=time.monotonic,
    )


@contextmanager
def calls(open_desk: Callable[[], ExpertDesk], backlog: int = 100) -> Iterator[Calls]:
    opened = Calls(open_desk, backlog)
    try:
        yield opened
    finally:
        opened.close()


def deferral(number: int, text: str = "quick") -> Deferral:
    return Deferral(event(number, text), (), (1.0,), "linear", Reason.POLICY, 1.0, None)


def test_a_quick_answer_does_not_wait_for_a_slow_one() -> None:
    expert = HeldExpert()
    with calls(lambda: desk(expert)) as under_way:
        under_way.hand_over("a", {"first": deferral(1, "slow")})
        assert expert.began.acquire(timeout=10)
        under_way.hand_over("b", {"second": deferral(2)})
        assert [name for name, _ in under_way.wait_for("b")] == ["second"]
        assert under_way.collect("a") == []
        assert under_way.under_way("a")
        expert.release("e1")
        ((name, verdict),) = under_way.wait_for("a")
        assert (name, verdict.answer.label) == ("first", "ok")
        assert not under_way.under_way("a")


def test_of_one_chunk_too_each_answer_comes_when_it_is_there() -> None:
    expert = HeldExpert()
    with calls(lambda: desk(expert)) as under_way:
        under_way.hand_over("a", {"slow": deferral(1, "slow"), "quick": deferral(2)})
        assert expert.began.acquire(timeout=10)
        found: list[str] = []
        while not found:
            found = [name for name, _ in under_way.collect("a")]
        assert found == ["quick"]
        expert.release("e1")
        assert [name for name, _ in under_way.wait_for("a")] == ["slow"]


@settings(max_examples=25)
@given(
    chunks=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 6)), max_size=8),
    backlog=st.integers(1, 20),
)
def test_each_deferral_gets_one_verdict(chunks: list[tuple[str, int]], backlog: int) -> None:
    with calls(lambda: desk(HeldExpert()), backlog) as under_way:
        handed: dict[str, set[str]] = {"a": set(), "b": set()}
        number = 0
        for group, size in chunks:
            fresh = {f"n{number + i}": deferral(number + i) for i in range(size)}
            number += size
            handed[group] |= set(fresh)
            under_way.hand_over(group, fresh)
        for group, names in handed.items():
            got = under_way.wait_for(group)
            assert sorted(name for name, _ in got) == sorted(names)
            for _, verdict in got:
                assert verdict.answer.label == "ok" or verdict.answer.failure == Failure.OVERLOADED
            assert not under_way.under_way(group)


def test_a_flood_is_answered_at_once_and_asks_nobody() -> None:
    expert = HeldExpert()
    with calls(lambda: desk(expert), backlog=2) as under_way:
        under_way.hand_over("a", {str(i): deferral(i, "slow") for i in range(5)})
        flooded = under_way.collect("a")
        assert [name for name, _ in flooded] == ["2", "3", "4"]
        assert {verdict.answer.failure for _, verdict in flooded} == {Failure.OVERLOADED}
        for _ in range(2):
            assert expert.began.acquire(timeout=10)
        assert sorted(expert.asked) == ["e0", "e1"]


def test_closing_abandons_what_is_under_way() -> None:
    expert = HeldExpert()
    with calls(lambda: desk(expert)) as under_way:
        under_way.hand_over("a", {"never": deferral(1, "slow")})
        assert expert.began.acquire(timeout=10)
    assert expert.closed


def test_a_desk_that_can_not_be_opened_is_no_silence() -> None:
    def broken() -> ExpertDesk:
        raise ValueError("OPENAI_API_KEY is not set")

    with calls(broken) as under_way:
        under_way.hand_over("a", {"one": deferral(1)})
        with pytest.raises(ValueError, match="OPENAI_API_KEY is not set"):
            under_way.wait_for("a")
        with pytest.raises(ValueError, match="OPENAI_API_KEY is not set"):
            under_way.collect("b")

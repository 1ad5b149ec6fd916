"""The laws of a ledger's window, on every implementation: never more within any stretch of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_store.errors import StoreMisconfigured
from model_store.ledger import Grant, Ledger
from model_store.memory_ledger import MemoryLedger
from model_store.redis_connection import RedisConnection
from model_store.redis_ledger import RedisLedger
from model_store.window import LATE, PARTS, Window

HOUR = Window(limit=100, length_s=3600)
TTL_S = 86_400.0


@dataclass
class Kind:
    """An implementation: how to make an empty ledger, and how many parts of a window pass by."""

    make: Callable[..., Ledger]
    pass_by: Callable[[int], None]


class MemoryTime:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def make(self, window: Window | None = HOUR) -> Ledger:
        return MemoryLedger(ttl_s=TTL_S, monotonic=lambda: self.now_s, window=window)

    def pass_by(self, parts: int) -> None:
        self.now_s += parts * HOUR.part_ms / 1000


class RedisTime:
    """Time passes on a server by making all it knows older: its clock is nobody's to set."""

    def __init__(self, url: str, namespace: str) -> None:
        self._url, self._namespace = url, namespace
        self.connection = RedisConnection(url)
        self.made: list[RedisLedger] = []

    def make(self, window: Window | None = HOUR, task: str | None = None) -> Ledger:
        name = task or f"task-{len(self.made)}"
        self.made.append(RedisLedger(self._url, self._namespace, name, TTL_S, window))
        return self.made[-1]

    def pass_by(self, parts: int) -> None:
        def older(client: Any) -> None:
            for key in client.keys(f"{{{self._namespace}:*:window"):
                kept = client.hgetall(key)
                client.delete(key)
                for part, amount in kept.items():
                    client.hset(key, int(part) - parts, amount)
            for key in client.keys(f"{{{self._namespace}:*:call:*"):
                part, amount = client.get(key).split(b":")
                client.set(key, b"%d:%b" % (int(part) - parts, amount), keepttl=True)

        self.connection.call(older)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def kind(request: pytest.FixtureRequest, namespace: str) -> Iterator[Kind]:
    if request.param == "memory":
        memory = MemoryTime()
        yield Kind(memory.make, memory.pass_by)
        return
    redis = RedisTime(request.getfixturevalue("redis_url"), namespace)
    yield Kind(redis.make, redis.pass_by)
    for ledger in redis.made:
        ledger.close()
    redis.connection.close()


@pytest.fixture
def ledger(kind: Kind) -> Ledger:
    return kind.make()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(0, 2 * PARTS)),
        st.tuples(st.just("reserve"), st.lists(st.integers(0, 60), max_size=4)),
        st.tuples(st.just("correct"), st.integers(0, 70)),
        st.tuples(st.just("refund"), st.just(0)),
    ),
    max_size=25,
)


# Each example makes a ledger of its own.
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_the_sum_over_any_window_is_within_the_limit(
    kind: Kind, steps: list[tuple[str, Any]]
) -> None:
    """Also late by as much as is allowed for; and nothing is refused that would fit."""
    ledger, now = kind.make(), 0
    drawn: dict[str, tuple[int, int, int]] = {}  # part, what was drawn at first, what is now
    for number, (what, value) in enumerate(steps):
        if what == "pass":
            kind.pass_by(value)
            now += value
        elif what == "reserve":
            for i, amount in enumerate(value):
                name = f"{number}-{i}"
                # A Redis may begin a part between the two; then less counts than is said here.
                counted = sum(n for part, _, n in drawn.values() if part >= now - HOUR.kept)
                (grant,) = ledger.reserve([name], None, amounts=[amount])
                assert grant or counted + amount > HOUR.limit
                if grant:
                    drawn[name] = (now, amount, amount)
        elif drawn:
            name = next(reversed(drawn))
            part, first, _ = drawn[name]
            if what == "correct":
                cost = min(value, first)
                ledger.correct({name: cost})
                drawn[name] = (part, first, cost)
            else:
                ledger.refund([name])
                del drawn[name]
    for begin, _, _ in drawn.values():
        within = range(begin, begin + PARTS + LATE)
        assert sum(now for part, _, now in drawn.values() if part in within) <= HOUR.limit
    usage = ledger.usage()
    assert usage.spent == sum(amount for _, _, amount in drawn.values())
    assert usage.reserved == len(drawn)
    assert usage.drawn <= HOUR.limit


@given(
    waits=st.lists(st.floats(0, 4000), max_size=60),
    amounts=st.lists(st.integers(1, 40), min_size=60, max_size=60),
    late=st.floats(0, LATE * 15),
)
def test_whatever_the_moments_no_hour_sees_more(
    waits: list[float], amounts: list[int], late: float
) -> None:
    """Every second draw comes to pass late: still no hour that begins with one has too much."""
    now_s, happened = [0.0], []
    ledger = MemoryLedger(ttl_s=TTL_S, monotonic=lambda: now_s[0], window=HOUR)
    for number, (wait, amount) in enumerate(zip(waits, amounts, strict=False)):
        now_s[0] += wait
        if ledger.reserve([str(number)], None, amounts=[amount])[0]:
            happened.append((now_s[0] + (number % 2) * late, amount))
    for begin, _ in happened:
        hour = [amount for at, amount in happened if begin <= at <= begin + HOUR.length_s]
        assert sum(hour) <= HOUR.limit


@pytest.mark.parametrize("into_the_part_s", [0.0, 14.9])
def test_an_amount_counts_for_longer_than_the_window_and_not_much(into_the_part_s: float) -> None:
    now_s = [into_the_part_s]
    ledger = MemoryLedger(ttl_s=TTL_S, monotonic=lambda: now_s[0], window=HOUR)
    ledger.reserve(["a"], None, amounts=[100])
    while not ledger.reserve(["b"], None)[0]:
        now_s[0] += 0.1
    late_s = LATE * HOUR.part_ms / 1000
    assert 0 <= now_s[0] - into_the_part_s - HOUR.length_s - late_s <= HOUR.part_ms / 1000 + 0.2
    assert HOUR.counted_s == pytest.approx(HOUR.length_s + late_s + HOUR.part_ms / 2000)


def test_what_was_drawn_is_free_again_after_the_window(kind: Kind, ledger: Ledger) -> None:
    assert ledger.reserve(["a", "b"], None, amounts=[60, 40]) == [Grant.NEW, Grant.NEW]
    assert ledger.reserve(["c"], None, amounts=[1]) == [Grant.NO]
    kind.pass_by(HOUR.kept)
    assert ledger.usage().drawn in (100, 0)  # 0 where the server began another part meanwhile
    kind.pass_by(1)
    usage = ledger.usage()
    assert (usage.drawn, usage.spent, usage.reserved) == (0, 100, 2)
    assert ledger.reserve(["c"], None, amounts=[100]) == [Grant.NEW]


def test_a_call_gives_back_what_it_did_not_cost(ledger: Ledger) -> None:
    ledger.reserve(["a", "b"], None, amounts=[70, 30])
    for _ in range(2):  # repeating it is safe
        ledger.correct({"a": 20, "never heard of": 5})
        assert (ledger.usage().drawn, ledger.usage().spent) == (50, 50)
    assert ledger.reserve(["c", "d"], None, amounts=[51, 50]) == [Grant.NO, Grant.NEW]


def test_a_call_that_cost_more_than_was_thought_possible_counts_in_full(ledger: Ledger) -> None:
    ledger.reserve(["a"], None, amounts=[70])
    ledger.correct({"a": 120})
    assert (ledger.usage().drawn, ledger.usage().spent) == (120, 120)
    assert ledger.reserve(["b"], None, amounts=[0]) == [Grant.NO]


def test_a_call_that_reached_nobody_gives_back_all(ledger: Ledger) -> None:
    ledger.reserve(["a"], None, amounts=[100])
    for _ in range(2):
        ledger.refund(["a"])
        usage = ledger.usage()
        assert (usage.drawn, usage.spent, usage.reserved) == (0, 0, 0)


def test_a_caller_that_died_leaves_the_most_until_it_is_out_of_the_window(
    kind: Kind, ledger: Ledger
) -> None:
    ledger.reserve(["a"], None, amounts=[100])
    kind.pass_by(PARTS)
    # It comes again: what it drew stays drawn, and the call that is made now draws anew.
    assert ledger.reserve(["a"], None, amounts=[100]) == [Grant.AGAIN]
    assert ledger.reserve(["a#2"], None, amounts=[100], retry=True) == [Grant.NO]
    assert ledger.reserve(["b"], None, amounts=[1]) == [Grant.NO]
    assert ledger.usage().refused == 1  # events that got no call, and not calls
    kind.pass_by(LATE + 1)
    assert ledger.reserve(["a#2"], None, amounts=[100], retry=True) == [Grant.NEW]
    assert (ledger.usage().drawn, ledger.usage().spent) == (100, 200)


def test_what_comes_late_changes_no_other_part(kind: Kind, ledger: Ledger) -> None:
    ledger.reserve(["a"], None, amounts=[100])
    kind.pass_by(HOUR.kept + 1)
    ledger.reserve(["b"], None, amounts=[90])
    ledger.correct({"a": 10})
    assert (ledger.usage().drawn, ledger.usage().spent) == (90, 100)
    ledger.refund(["a"])
    assert (ledger.usage().drawn, ledger.usage().spent) == (90, 90)


def test_a_forgotten_call_stays_drawn(ledger: Ledger) -> None:
    ledger.reserve(["a"], None, amounts=[100])
    ledger.forget(["a"])
    ledger.correct({"a": 0})
    assert ledger.reserve(["a"], None) == [Grant.NO]


def test_a_cap_and_a_window_both_hold(ledger: Ledger) -> None:
    assert ledger.reserve(["a", "b", "c"], 2, amounts=[60, 60, 40]) == [True, False, True]
    assert ledger.reserve(["d"], 2, amounts=[0]) == [Grant.NO]


def test_a_job_that_begins_anew_has_drawn_what_was_drawn(ledger: Ledger) -> None:
    ledger.reserve(["a"], None, amounts=[100])
    assert ledger.begin().drawn == ledger.progress("0", seen=1, deferred=1).drawn == 100
    assert ledger.reserve(["b"], None) == [Grant.NO]


def test_without_a_window_nothing_is_drawn(kind: Kind) -> None:
    ledger = kind.make(None)
    assert ledger.reserve(["a"], 1, amounts=[10**15]) == [Grant.NEW]
    ledger.correct({"a": 5})
    ledger.refund(["a"])
    assert (ledger.usage().drawn, ledger.usage().spent) == (0, 0)


def test_amounts_may_be_large(kind: Kind) -> None:
    limit = 2**52
    ledger = kind.make(Window(limit, 3600))
    assert ledger.reserve(["a", "b"], None, amounts=[limit - 1, 2]) == [True, False]
    ledger.correct({"a": limit - 2})
    assert ledger.reserve(["b", "c"], None, amounts=[2, 1]) == [True, False]
    assert ledger.usage().drawn == limit


@pytest.mark.parametrize("amounts", [[], [1, 2], [-1]])
def test_impossible_amounts_are_refused(ledger: Ledger, amounts: list[int]) -> None:
    with pytest.raises(ValueError, match="no amounts of 1 calls"):
        ledger.reserve(["a"], None, amounts=amounts)
    with pytest.raises(ValueError, match="can not be"):
        ledger.correct({"a": -1})


@pytest.mark.parametrize(("limit", "length_s"), [(0, 3600), (-1, 3600), (1, 0.2), (1, -5)])
def test_a_window_of_nothing_is_refused(limit: int, length_s: float) -> None:
    with pytest.raises(StoreMisconfigured, match="Operator action"):
        Window(limit, length_s)


@pytest.mark.redis
def test_many_clients_of_one_server_never_draw_more(redis_url: str, namespace: str) -> None:
    clients, rounds = 6, 15
    barrier = Barrier(clients)

    def spend(client: int) -> int:
        with closing(RedisLedger(redis_url, namespace, "shared", TTL_S, HOUR)) as ledger:
            barrier.wait()
            granted = 0
            for turn in range(rounds):
                names = [f"{client}-{turn}-{i}" for i in range(3)]
                grants = ledger.reserve(names, None, amounts=[3, 2, 1])
                granted += sum(
                    amount for amount, grant in zip((3, 2, 1), grants, strict=True) if grant
                )
            return granted

    with ThreadPoolExecutor(clients) as pool:
        total = sum(pool.map(spend, range(clients)))
    with closing(RedisLedger(redis_url, namespace, "shared", TTL_S, HOUR)) as ledger:
        assert total == ledger.usage().drawn == HOUR.limit

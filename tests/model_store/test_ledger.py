"""The laws of the ledger, on every implementation."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_store.errors import StoreMisconfigured
from model_store.ledger import Grant, Ledger, Usage
from model_store.memory_ledger import MemoryLedger
from model_store.redis_connection import RedisConnection
from model_store.redis_ledger import RedisLedger

TTL_S = 60.0
EMPTY = Usage(seen=0, deferred=0, settled=0, reserved=0)


class Kind:
    """An implementation: how to make an empty ledger, and how its ttl runs out."""

    def __init__(self, make: Callable[[], Ledger], expire: Callable[[], None]) -> None:
        self.make = make
        self.expire = expire


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def kind(request: pytest.FixtureRequest, namespace: str) -> Iterator[Kind]:
    if request.param == "memory":
        clock_s = [1_000.0]

        def advance() -> None:
            clock_s[0] += TTL_S

        yield Kind(lambda: MemoryLedger(ttl_s=TTL_S, monotonic=lambda: clock_s[0]), advance)
        return
    url = request.getfixturevalue("redis_url")
    connection = RedisConnection(url)
    made: list[RedisLedger] = []

    def make() -> Ledger:
        made.append(RedisLedger(url, namespace, f"task-{len(made)}", TTL_S))
        return made[-1]

    def expire() -> None:
        # What Redis does at the end of the ttl, without the wait: exactly what has one goes.
        def expire_all(client: Any) -> None:
            keys = client.keys(f"{{{namespace}:*")
            client.delete("none", *(key for key in keys if client.pttl(key) > 0))

        connection.call(expire_all)

    yield Kind(make, expire)
    for ledger in made:
        ledger.close()
    connection.close()


@pytest.fixture
def ledger(kind: Kind) -> Ledger:
    return kind.make()


counts = st.integers(0, 2**40).flatmap(lambda seen: st.tuples(st.just(seen), st.integers(0, seen)))
progress = st.lists(st.tuples(st.sampled_from(["0", "1", "s:2", ""]), counts), max_size=10)
reservations = st.lists(
    st.tuples(
        st.lists(st.sampled_from([*"abcdefgh", "\ud800", "{x}:y"]), max_size=5),
        st.none() | st.integers(0, 6),
    ),
    max_size=8,
)
few = settings(
    max_examples=40,
    # Each example makes a ledger of its own.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)


def test_a_new_ledger_is_empty(ledger: Ledger) -> None:
    assert ledger.usage() == EMPTY
    assert ledger.reserve([], 1) == []
    assert ledger.recall([]) == {}
    ledger.remember({})
    assert ledger.usage() == EMPTY


@few
@given(steps=progress)
def test_usage_is_the_sum_of_what_each_shard_said_last(
    kind: Kind, steps: list[tuple[str, tuple[int, int]]]
) -> None:
    ledger = kind.make()
    last: dict[str, tuple[int, int]] = {}
    for shard, (seen, deferred) in steps:
        last[shard] = (seen, deferred)
        expected = Usage(
            seen=sum(seen for seen, _ in last.values()),
            deferred=sum(deferred for _, deferred in last.values()),
            settled=0,
            reserved=0,
        )
        assert ledger.progress(shard, seen=seen, deferred=deferred) == expected
        # Said again, as after a lost answer: nothing changes.
        assert ledger.progress(shard, seen=seen, deferred=deferred) == expected
        assert ledger.usage() == expected


@few
@given(steps=reservations)
def test_calls_are_paid_once_and_never_above_the_cap(
    kind: Kind, steps: list[tuple[list[str], int | None]]
) -> None:
    ledger = kind.make()
    paid: set[str] = set()
    for call_ids, cap in steps:
        expected = []
        for call_id in call_ids:
            if call_id not in paid and (cap is None or len(paid) < cap):
                paid.add(call_id)
                expected.append(Grant.NEW)
            else:
                expected.append(Grant.AGAIN if call_id in paid else Grant.NO)
        assert ledger.reserve(call_ids, cap) == expected
        assert ledger.usage().reserved == len(paid)


def test_a_cap_of_nothing_grants_nothing(ledger: Ledger) -> None:
    assert ledger.reserve(["a", "b"], 0) == [False, False]
    assert ledger.usage().reserved == 0


def test_an_id_that_was_denied_may_be_granted_later(ledger: Ledger) -> None:
    assert ledger.reserve(["a", "b"], 1) == [True, False]
    assert ledger.reserve(["b", "a"], 2) == [Grant.NEW, Grant.AGAIN]
    assert ledger.usage().reserved == 2


def test_ids_expire_and_the_count_does_not(kind: Kind, ledger: Ledger) -> None:
    assert ledger.reserve(["a", "b"], 2) == [True, True]
    kind.expire()
    assert ledger.usage().reserved == 2
    assert ledger.reserve(["a"], 2) == [False]
    assert ledger.reserve(["a"], 3) == [True]
    assert ledger.usage().reserved == 3


def test_counts_do_not_expire(kind: Kind, ledger: Ledger) -> None:
    ledger.progress("0", seen=5, deferred=2)
    ledger.settle(2)
    kind.expire()
    assert ledger.progress("1", seen=1, deferred=0) == Usage(
        seen=6, deferred=2, settled=2, reserved=0
    )


def test_the_cap_holds_under_concurrency(ledger: Ledger) -> None:
    threads, cap = 6, 50
    barrier = Barrier(threads)

    def spend(thread: int) -> list[bool]:
        barrier.wait()
        return [
            granted
            for batch in range(10)
            for granted in ledger.reserve([f"{thread}-{batch}-{i}" for i in range(3)], cap)
        ]

    with ThreadPoolExecutor(threads) as pool:
        granted = sum(map(sum, pool.map(spend, range(threads))))
    assert granted == cap
    assert ledger.usage().reserved == cap


def test_the_same_ids_from_many_threads_are_paid_once(ledger: Ledger) -> None:
    threads = 6
    barrier = Barrier(threads)
    call_ids = [str(i) for i in range(20)]

    def spend(_: int) -> list[bool]:
        barrier.wait()
        return ledger.reserve(call_ids, 20)

    with ThreadPoolExecutor(threads) as pool:
        assert all(map(all, pool.map(spend, range(threads))))
    assert ledger.usage().reserved == 20


def test_shards_from_many_threads_add_up(ledger: Ledger) -> None:
    threads = 6
    barrier = Barrier(threads)

    def count(thread: int) -> None:
        barrier.wait()
        for seen in range(1, 21):
            ledger.progress(str(thread), seen=seen, deferred=seen // 2)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(count, range(threads)))
    assert ledger.usage() == Usage(seen=20 * threads, deferred=10 * threads, settled=0, reserved=0)


def test_settled_is_absolute(ledger: Ledger) -> None:
    ledger.settle(7)
    ledger.settle(7)
    assert ledger.usage().settled == 7
    ledger.settle(3)
    assert ledger.usage().settled == 3


@pytest.mark.parametrize(("seen", "deferred"), [(1, 2), (-1, -1), (1, -1)])
def test_impossible_counts_are_refused(ledger: Ledger, seen: int, deferred: int) -> None:
    with pytest.raises(ValueError, match="impossible"):
        ledger.progress("0", seen=seen, deferred=deferred)
    with pytest.raises(ValueError, match="impossible"):
        ledger.settle(-1)
    assert ledger.usage() == EMPTY


@few
@given(
    answers=st.dictionaries(st.text(st.characters(), max_size=20), st.binary(max_size=50)),
    others=st.lists(st.text(max_size=3), max_size=3),
)
def test_answers_are_recalled_as_they_were(
    kind: Kind, answers: dict[str, bytes], others: list[str]
) -> None:
    ledger = kind.make()
    ledger.remember(answers)
    assert ledger.recall([*answers, *others]) == answers


def test_a_later_answer_replaces_and_expires(kind: Kind, ledger: Ledger) -> None:
    ledger.remember({"a": b"1", "b": b"2"})
    ledger.remember({"a": b"3"})
    assert ledger.recall(["a", "b", "c"]) == {"a": b"3", "b": b"2"}
    kind.expire()
    assert ledger.recall(["a", "b"]) == {}


def test_call_ids_and_event_ids_do_not_mix(ledger: Ledger) -> None:
    ledger.reserve(["a"], None)
    assert ledger.recall(["a"]) == {}
    ledger.remember({"b": b"1"})
    assert ledger.reserve(["b"], 1) == [False]


def test_using_an_id_keeps_it_in_memory() -> None:
    clock_s = [0.0]
    ledger = MemoryLedger(ttl_s=10, monotonic=lambda: clock_s[0])
    ledger.reserve(["a", "b"], None)
    clock_s[0] = 9
    ledger.reserve(["a"], None)
    clock_s[0] = 18
    assert ledger.reserve(["a", "b"], 2) == [Grant.AGAIN, Grant.NO]


@pytest.mark.parametrize("ttl_s", [0, -1, 0.0001])
def test_a_ttl_of_nothing_is_refused(ttl_s: float) -> None:
    with pytest.raises(StoreMisconfigured, match="Operator action"):
        MemoryLedger(ttl_s=ttl_s, monotonic=lambda: 0.0)
    with pytest.raises(StoreMisconfigured, match="Operator action"):
        RedisLedger("redis://localhost", "ns", "task", ttl_s)


def test_retries_are_counted_among_the_calls(kind: Kind) -> None:
    ledger = kind.make()
    assert ledger.reserve(["a", "b"], 3) == [True, True]
    assert ledger.reserve(["a#2"], 3, retry=True) == [Grant.NEW]
    assert ledger.reserve(["a#2"], 3, retry=True) == [Grant.AGAIN]
    assert ledger.reserve(["b#2"], 3, retry=True) == [False]
    assert (ledger.usage().reserved, ledger.usage().retried) == (3, 1)


def test_a_call_that_is_taken_back_was_never_counted(ledger: Ledger) -> None:
    ledger.reserve(["a", "b"], 3)
    ledger.reserve(["a#2"], 3, retry=True)
    ledger.refund([])
    for _ in range(2):  # repeating it is safe
        ledger.refund(["a", "never heard of"])
        ledger.refund(["a#2"], retry=True)
        usage = ledger.usage()
        assert (usage.reserved, usage.retried, usage.refunded) == (1, 0, 1)
    assert ledger.reserve(["a", "c", "d"], 3) == [Grant.NEW, Grant.NEW, Grant.NO]
    ledger.begin()
    assert (ledger.usage().reserved_before, ledger.usage().refunded) == (3, 0)


def test_a_forgotten_call_is_a_new_one(kind: Kind) -> None:
    ledger = kind.make()
    ledger.reserve(["a", "b"], None)
    ledger.forget(["a", "never heard of"])
    ledger.forget([])
    assert ledger.usage().reserved == 2
    assert ledger.reserve(["a"], 2) == [False]
    assert ledger.reserve(["b"], 2) == [Grant.AGAIN]


def test_a_job_begins_at_nothing_and_what_was_spent_stays_spent(ledger: Ledger) -> None:
    ledger.progress("0", seen=5, deferred=2)
    ledger.progress("1", seen=7, deferred=3)
    ledger.settle(4)
    ledger.reserve(["a", "b"], 3)
    ledger.reserve(["a#2"], 3, retry=True)
    ledger.remember({"a": b"answer"})
    begun = Usage(seen=0, deferred=0, settled=0, reserved=3, seen_before=12, reserved_before=3)
    assert ledger.begin() == begun
    assert ledger.begin() == ledger.usage() == begun
    assert ledger.reserve(["a", "c"], 3) == [Grant.AGAIN, Grant.NO]
    assert ledger.reserve(["c"], 4) == [True]
    assert ledger.recall(["a"]) == {"a": b"answer"}
    assert ledger.progress("1", seen=2, deferred=1).seen == 2
    usage = ledger.usage()
    assert (usage.seen_ever, usage.reserved_here) == (14, 1)
    ledger.begin()
    assert (ledger.usage().seen_ever, ledger.usage().reserved_before) == (14, 4)

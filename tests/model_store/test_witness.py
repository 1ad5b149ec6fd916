"""A Redis that loses what it held, all or the latest, and clients that know better."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_store.ledger import Grant, Usage
from model_store.redis_connection import RedisConnection
from model_store.redis_ledger import RedisLedger
from model_store.window import Window
from model_store.witness import Witness

pytestmark = pytest.mark.redis
Make = Callable[..., RedisLedger]
TASK = "task"


class Server:
    """The keys of one namespace: lost, kept as they are, put back."""

    def __init__(self, connection: RedisConnection, namespace: str) -> None:
        self._connection = connection
        self._pattern = f"{{{namespace}:*"

    def _keys(self, client: Any) -> list[bytes]:
        return [*client.keys(self._pattern)]

    def lose_all(self) -> None:
        self._connection.call(lambda client: client.delete("none", *self._keys(client)))

    def save(self) -> dict[bytes, bytes]:
        saved: dict[bytes, bytes] = self._connection.call(
            lambda client: {key: client.dump(key) for key in self._keys(client)}
        )
        return saved

    def put_back(self, saved: dict[bytes, bytes]) -> None:
        self.lose_all()
        for key, value in saved.items():
            self._connection.call(lambda client, k=key, v=value: client.restore(k, 0, v))


@pytest.fixture
def server(redis_url: str, namespace: str) -> Iterator[Server]:
    with closing(RedisConnection(redis_url)) as connection:
        yield Server(connection, namespace)


@pytest.fixture
def make(redis_url: str, namespace: str) -> Iterator[Make]:
    made: list[RedisLedger] = []

    def client(name: str = "-", window: Window | None = None) -> RedisLedger:
        made.append(RedisLedger(redis_url, namespace, TASK, 60, window, client=name))
        return made[-1]

    yield client
    for ledger in made:
        ledger.close()


def test_an_empty_server_is_told_what_was_spent(server: Server, make: Make) -> None:
    first, second = make("0"), make("1")
    first.begin()
    first.reserve(["a", "b"], 10)
    second.reserve(["c", "d", "e"], 10)
    second.reserve(["c#2"], 10, retry=True)
    first.refund(["a"])
    first.progress("s0", seen=9, deferred=4)
    second.progress("s1", seen=5, deferred=3)
    first.settle(6, 1)
    second.usage()
    before = first.usage()
    assert (before.reserved, before.seen, before.refunded, before.retried) == (5, 14, 1, 1)
    server.lose_all()
    # The first that looks tells of all but what only the other can: how far its shard is.
    assert first.usage() == Usage(9, 4, 6, 5, retried=1, disagreeing=1, refunded=1)
    assert second.usage() == before
    assert first.usage() == before


def test_no_call_is_granted_before_the_ledger_is_raised(server: Server, make: Make) -> None:
    ledger = make()
    assert ledger.reserve(["a", "b", "c"], 4) == [True, True, True]
    server.lose_all()
    assert ledger.reserve(["d", "e"], 4) == [Grant.NEW, Grant.NO]
    assert ledger.usage().reserved == 4


def test_what_was_drawn_from_the_window_is_drawn_again(server: Server, make: Make) -> None:
    window = Window(10, 3600.0)
    ledger, other = make("0", window), make("1", window)
    ledger.begin()
    assert ledger.reserve(["a", "b"], None, amounts=[4, 3]) == [True, True]
    before = other.usage()
    assert (before.drawn, before.spent) == (7, 7)
    server.lose_all()
    assert other.reserve(["c", "d"], None, amounts=[4, 3]) == [False, True]
    usage = ledger.usage()
    assert (usage.drawn, usage.spent, usage.reserved) == (10, 10, 3)


def test_what_was_spent_before_the_job_is_raised_too(server: Server, make: Make) -> None:
    make().reserve(["a", "b"], 10)
    ledger = make()
    before = ledger.begin()
    assert (before.reserved, before.reserved_before) == (2, 2)
    ledger.reserve(["c"], 10)
    server.lose_all()
    usage = ledger.usage()
    assert (usage.reserved, usage.reserved_before) == (3, 2)


def test_a_server_that_lost_the_latest_is_told(server: Server, make: Make) -> None:
    granting, other = make("0"), make("1")
    granting.begin()
    granting.reserve(["a", "b"], 10)
    other.reserve(["c"], 10)
    granting.progress("s", seen=5, deferred=2)
    saved = server.save()
    granting.reserve(["d", "e", "f"], 10)
    granting.progress("s", seen=8, deferred=5)
    granting.settle(3)
    granting.usage()
    server.put_back(saved)
    assert other.usage().reserved == 3  # it had not looked since
    assert granting.reserve(["g"], 10) == [True]
    assert other.usage() == Usage(seen=8, deferred=5, settled=3, reserved=7)


def test_a_client_that_starts_again_tells_what_was_kept(server: Server, make: Make) -> None:
    ledger = make("0")
    ledger.begin()
    ledger.reserve(["a", "b"], 2)
    kept = ledger.testimony()
    server.lose_all()
    again = make("0")
    again.testify(kept)
    again.testify(b"")
    assert again.reserve(["c"], 2) == [False]
    assert again.begun()
    assert again.usage().reserved == 2
    assert again.testimony() != b""


def test_who_knows_nothing_does_not_make_the_others_forget(server: Server, make: Make) -> None:
    knowing = make("0")
    knowing.begin()
    knowing.reserve(["a", "b"], 5)
    server.lose_all()
    ignorant = make("1")
    assert ignorant.usage().reserved == 0
    assert not ignorant.begun()
    assert ignorant.reserve(["c"], 5) == [True]
    assert knowing.usage().reserved == 3
    assert knowing.begun()
    assert ignorant.usage().reserved == 3
    assert ignorant.usage().reserved == 3


def test_a_job_owes_nothing_to_what_was_seen_of_the_one_before(make: Make) -> None:
    old = make("0")
    old.begin()
    old.reserve(["a", "b"], 10)
    old.progress("s", seen=3, deferred=2)
    kept = old.testimony()
    new = make("0")
    new.begin()
    new.testify(kept)
    assert new.reserve(["c"], 10) == [True]
    expected = Usage(0, 0, 0, 3, seen_before=3, reserved_before=2)
    assert new.usage() == old.usage() == expected
    assert old.reserve(["d"], 10) == [True]
    assert new.usage().reserved == 4


def test_a_job_that_has_begun_is_known_before_its_first_event(server: Server, make: Make) -> None:
    ledger = make()
    assert not ledger.begun()
    ledger.usage()
    assert not ledger.begun()
    ledger.begin()
    assert ledger.begun()
    assert make().begun()
    server.lose_all()
    assert not make().begun()


@pytest.mark.parametrize("kept", [b"\x00", b"nonsense", b"\x95\x02\xa1e\x80\x80\x00"])
def test_what_is_no_testimony_is_refused(kept: bytes) -> None:
    with pytest.raises(ValueError, match="what was kept of the ledger"):
        Witness().testify(kept)


CAP = 12
CLIENTS = ("0", "1", "2")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.sampled_from(CLIENTS), st.integers(1, 3)),
        st.tuples(st.just("refund"), st.sampled_from(CLIENTS), st.just(0)),
        st.tuples(st.just("restart"), st.sampled_from(CLIENTS), st.just(0)),
        st.tuples(st.sampled_from(["save", "lose", "put back"]), st.just(""), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_what_living_clients_know_is_never_forgotten(
    server: Server, make: Make, steps: list[tuple[str, str, int]]
) -> None:
    """Whatever is lost and in whatever order they look, all looks together give the true count."""
    server.lose_all()
    clients = {name: make(name) for name in CLIENTS}
    clients["0"].begin()
    saved = server.save()
    spent: list[str] = []
    numbers = iter(range(10_000))
    for what, name, count in steps:
        if what == "reserve":
            ids = [str(next(numbers)) for _ in range(count)]
            for ledger in clients.values():  # all have looked: then the cap is held to the call
                ledger.usage()
            grants = clients[name].reserve(ids, CAP)
            spent += [call for call, grant in zip(ids, grants, strict=True) if grant]
            assert len(spent) <= CAP
        elif what == "refund" and spent:
            before = clients[name].usage().reserved
            clients[name].refund([spent[-1]])
            if clients[name].usage().reserved < before:  # else its id was lost: it stays spent
                spent.pop()
        elif what == "restart":
            kept = clients[name].testimony()
            clients[name] = make(name)
            clients[name].testify(kept)
        elif what == "save":
            saved = server.save()
        elif what == "lose":
            server.lose_all()
        elif what == "put back":
            server.put_back(saved)
        for ledger in clients.values():
            ledger.usage()
        assert {ledger.usage().reserved for ledger in clients.values()} == {len(spent)}

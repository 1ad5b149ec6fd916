"""What only the Redis implementations can get wrong: keys, users, the network, secrets."""

import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime

import numpy as np
import pytest

from model_store.errors import StoreMisconfigured, StoreUnavailable
from model_store.redis_backend import RedisBackend
from model_store.redis_connection import RedisConnection, key_prefix, safe_address
from model_store.redis_ledger import RedisLedger
from model_store.store import ModelStore

SECRET = "hunter2-s3cret"  # noqa: S105  # no real one
TASK = "hate"
WEIGHTS = {"weight": np.ones(2, np.float32)}


@pytest.fixture
def admin(redis_url: str) -> Iterator[RedisConnection]:
    with closing(RedisConnection(redis_url)) as connection:
        yield connection


@pytest.fixture
def dead_url() -> Iterator[str]:
    # Bound and never listening: connecting is refused at once, and nobody else takes the port.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield f"redis://user:{SECRET}@127.0.0.1:{probe.getsockname()[1]}/0"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (f"redis://:{SECRET}@cache:6379/0", "redis://cache:6379"),
        (f"rediss://user:{SECRET}@cache/1?ssl_cert_reqs=none", "rediss://cache"),
        (f"redis://cache:6379/0?password={SECRET}", "redis://cache:6379"),
        (f"unix://user@/run/redis.sock?password={SECRET}", "unix:///run/redis.sock"),
        (f"redis://:a/{SECRET}@cache:6379", "an address that cannot be read"),
        (f"redis://user:1/{SECRET}@cache:6379", "an address that cannot be read"),
        (f"redis://user:1?{SECRET}@cache:6379", "an address that cannot be read"),
        (f"redis://user:1#{SECRET}@cache:6379", "an address that cannot be read"),
        (f"http://:{SECRET}@cache", "an address that cannot be read"),
        (f"redis://[{SECRET}", "an address that cannot be read"),
        (SECRET, "an address that cannot be read"),
    ],
)
def test_an_address_never_holds_a_secret(url: str, address: str) -> None:
    assert safe_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        SECRET,
        f"http://:{SECRET}@cache",
        f"redis://:a#{SECRET}@cache:6379",
        f"redis://:a/{SECRET}@cache:6379",
        f"redis://:{SECRET}@cache:port",
        f"redis://:{SECRET}@cache/0?socket_timeout=soon",
        f"redis://:{SECRET}@cache/0?no_such_option=1",
        f"rediss://:{SECRET}@cache/0?ssl_cert_reqs=perhaps",
    ],
)
def test_a_url_that_cannot_work_is_refused_at_once_without_its_secret(url: str) -> None:
    with pytest.raises(StoreMisconfigured, match="Operator action") as refused:
        RedisConnection(url)
    shown = "".join(traceback.format_exception(refused.value))
    assert SECRET not in shown


def test_tls_options_and_overrides_in_the_url_are_taken() -> None:
    url = "rediss://user:pw@cache/2?ssl_ca_certs=/ca.pem&socket_timeout=20&decode_responses=True"
    pool = RedisConnection(url)._client.connection_pool
    connection = pool.connection_class(**pool.connection_kwargs)
    assert type(connection).__name__ == "SSLConnection"
    assert connection.socket_timeout == 20
    assert connection.health_check_interval > 0
    assert (connection.username, connection.db) == ("user", 2)
    assert not connection.encoder.decode_responses


def test_a_store_that_is_down_is_unavailable(dead_url: str, now: Callable[[], datetime]) -> None:
    backend = RedisBackend(dead_url, "ns")
    store = ModelStore(backend, now=now)
    ledger = RedisLedger(dead_url, "ns", TASK, 60)
    attempts: list[Callable[[], object]] = [
        lambda: store.head(TASK),
        lambda: store.tasks(),
        lambda: store.releases(TASK),
        lambda: store.publish(TASK, WEIGHTS, parent=None, stats={}),
        lambda: store.rollback(TASK, "r000042-1a2b3c4d5e6f"),
        lambda: store.subscribe(TASK),
        lambda: backend.next_sequence(TASK),
        lambda: backend.blob_sizes(TASK, ["0" * 64]),
        lambda: backend.move_head(TASK, "r000042-1a2b3c4d5e6f"),
        lambda: ledger.usage(),
        lambda: ledger.progress("0", seen=1, deferred=1),
        lambda: ledger.reserve(["a"], 1),
        lambda: ledger.remember({"a": b"1"}),
        lambda: ledger.recall(["a"]),
        lambda: ledger.settle(1),
    ]
    for attempt in attempts:
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1.*Operator action") as error:
            attempt()
        assert error.value.__cause__ is not None
        assert SECRET not in "".join(traceback.format_exception(error.value))


@pytest.mark.redis
@pytest.mark.parametrize("db", ["", "/0", "/1"])
def test_a_forgotten_password_is_an_error_like_others(redis_url: str, db: str) -> None:
    address = redis_url.rsplit("@", 1)[1].split("/")[0]
    with pytest.raises(StoreUnavailable, match="Authentication"):
        RedisBackend(f"redis://{address}{db}", "ns").head(TASK)


@pytest.mark.redis
def test_idle_connections_are_still_checked(redis_url: str) -> None:
    with closing(RedisConnection(redis_url)) as connection:
        pool = connection._client.connection_pool
        assert connection.call(lambda client: client.ping())
        assert pool.get_connection().health_check_interval > 0


@pytest.mark.redis
def test_a_wrong_password_is_not_shown(redis_url: str) -> None:
    address = redis_url.rsplit("@", 1)[1]
    with pytest.raises(StoreUnavailable) as error:
        RedisBackend(f"redis://:{SECRET}@{address}", "ns").head(TASK)
    assert SECRET not in "".join(traceback.format_exception(error.value))
    assert address.split("/")[0] in str(error.value)


@pytest.mark.parametrize("name", ["", "a:b", "{a}", "a}b", "../a", "a b"])
def test_names_that_would_break_a_key_are_refused(name: str) -> None:
    for namespace, task in ((name, TASK), ("ns", name)):
        with pytest.raises(StoreMisconfigured, match="Operator action"):
            key_prefix(namespace, task)
    with pytest.raises(StoreMisconfigured):
        RedisBackend("redis://localhost", name)
    with pytest.raises(StoreMisconfigured):
        RedisLedger("redis://localhost", "ns", name, 60)


@pytest.mark.redis
def test_scripts_survive_a_server_that_forgot_them(
    admin: RedisConnection, redis_url: str, namespace: str, now: Callable[[], datetime]
) -> None:
    with closing(RedisBackend(redis_url, namespace)) as backend:
        store = ModelStore(backend, now=now)
        head = store.publish(TASK, WEIGHTS, parent=None, stats={}).release
        admin.call(lambda client: client.script_flush())
        assert store.publish(TASK, WEIGHTS, parent=head, stats={}).parent == head


@pytest.mark.redis
def test_lost_connections_are_opened_again(
    admin: RedisConnection, redis_url: str, namespace: str, now: Callable[[], datetime]
) -> None:
    with closing(RedisBackend(redis_url, namespace)) as backend:
        store = ModelStore(backend, now=now)
        head = store.publish(TASK, WEIGHTS, parent=None, stats={}).release
        admin.call(lambda client: client.client_kill_filter(_type="normal", skipme=True))
        assert store.head(TASK) == head


@pytest.mark.redis
def test_a_subscription_that_was_cut_says_so(
    admin: RedisConnection, redis_url: str, namespace: str
) -> None:
    with closing(RedisBackend(redis_url, namespace)) as backend:
        subscription = backend.subscribe(TASK)
        admin.call(lambda client: client.client_kill_filter(_type="pubsub"))
        with pytest.raises(StoreUnavailable):
            any(subscription.changed() for _ in range(100_000))
        subscription.close()


@pytest.mark.redis
def test_what_is_remembered_of_a_call_ends_with_the_ttl(
    admin: RedisConnection, redis_url: str, namespace: str
) -> None:
    with closing(RedisLedger(redis_url, namespace, TASK, 60)) as ledger:
        ledger.reserve(["a"], None)
        ledger.remember({"a": b"1"})
        ledger.progress("0", seen=1, deferred=1)
    ttls = admin.call(
        lambda client: {
            key.decode().split(":")[3]: client.pttl(key)
            for key in client.keys(f"{{{namespace}:{TASK}}}:ledger:*")
        }
    )
    assert ttls.keys() == {"call", "answer", "totals", "shards", "clients"}
    assert 0 < ttls["call"] <= 60_000
    assert 0 < ttls["answer"] <= 60_000
    assert ttls["totals"] == ttls["shards"] == ttls["clients"] == -1


@pytest.mark.redis
def test_counts_that_are_no_numbers_are_refused(
    admin: RedisConnection, redis_url: str, namespace: str
) -> None:
    totals = key_prefix(namespace, TASK) + "ledger:totals"
    admin.call(lambda client: client.hset(totals, "seen", "many"))
    with closing(RedisLedger(redis_url, namespace, TASK, 60)) as ledger:
        with pytest.raises(StoreUnavailable, match="no numbers"):
            ledger.usage()
        with pytest.raises(StoreUnavailable):
            ledger.progress("0", seen=1, deferred=0)


@pytest.mark.redis
def test_every_key_of_a_task_is_in_one_slot(
    admin: RedisConnection, redis_url: str, namespace: str, now: Callable[[], datetime]
) -> None:
    with closing(RedisBackend(redis_url, namespace)) as backend:
        ModelStore(backend, now=now).publish(TASK, WEIGHTS, parent=None, stats={})
    with closing(RedisLedger(redis_url, namespace, TASK, 60)) as ledger:
        ledger.reserve(["} {other}"], None)
        ledger.progress("0", seen=1, deferred=0)
    keys = admin.call(lambda client: client.keys(f"{{{namespace}*"))
    prefix = key_prefix(namespace, TASK).encode()
    others = [key for key in keys if not key.startswith(prefix)]
    assert others == [f"{{{namespace}}}:tasks".encode()]

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flink_job.demo.answers import text_key
from flink_job.demo.endpoint import EndpointSettings, RunningEndpoint
from flink_job.doctor import Diagnosis, State, services
from flink_job.settings import JobSettings
from model_store import redis_health
from model_store.embedded import EmbeddedRedis
from model_store.redis_connection import RedisConnection
from tests.flink_job.llm import KEY, KEY_ENV, expert

Make = Callable[..., JobSettings]
URL_ENV = "TEST_DOCTOR_REDIS_URL"
RULES = Path(__file__).parents[3] / "docker/redis/rules.acl"
SECRET = "hunter2-s3cret"  # noqa: S105  # no real one


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Redis of its own, to be spoiled."""
    with EmbeddedRedis(tmp_path / "redis") as running:
        monkeypatch.setenv(URL_ENV, running.url)
        yield running.url


def look(make_job: Make) -> list[Diagnosis]:
    return services.redis(make_job(store={"kind": "redis", "url_env": URL_ENV}))


def order(url: str, *command: str) -> None:
    with closing(RedisConnection(url)) as connection:
        connection.call(lambda client: client.execute_command(*command))


@pytest.mark.redis
def test_a_redis_that_keeps_what_it_is_given(server: str, make_job: Make) -> None:
    order(server, "CONFIG", "SET", "appendonly", "yes")
    assert [found.state for found in look(make_job)] == [State.OK, State.OK]


@pytest.mark.redis
def test_a_redis_that_forgets(server: str, make_job: Make) -> None:
    reached, keeps = look(make_job)
    assert reached.state is State.OK
    assert (keeps.state, "appendonly" in keeps.fix) == (State.WARNING, True)
    order(server, "CONFIG", "SET", "save", "60 1")
    assert look(make_job)[1].state is State.OK
    order(server, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    evicts = look(make_job)[1]
    assert (evicts.state, "noeviction" in evicts.fix) == (State.BAD, True)


@pytest.mark.redis
def test_a_replica_is_no_store(server: str, make_job: Make) -> None:
    order(server, "REPLICAOF", "127.0.0.1", "1")
    replica = look(make_job)[0]
    assert (replica.state, "master" in replica.fix) == (State.BAD, True)


@pytest.mark.redis
def test_a_user_who_may_not_ask(
    server: str, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = RULES.read_text(encoding="utf-8").split()
    order(server, "ACL", "SETUSER", "job", "reset", "on", f">{SECRET}", *rules)
    monkeypatch.setenv(URL_ENV, f"redis://job:{SECRET}@{server.rsplit('@', 1)[1]}")
    reached, keeps = look(make_job)
    assert (reached.state, "version unknown" in reached.detail) == (State.OK, True)
    assert (keeps.state, "noeviction" in keeps.fix) == (State.WARNING, True)


@pytest.mark.redis
def test_a_wrong_password_is_not_shown(
    server: str, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL_ENV, f"redis://:{SECRET}@{server.rsplit('@', 1)[1]}")
    (found,) = look(make_job)
    assert found.state is State.BAD
    assert found.fix
    assert SECRET not in repr(found)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "nonsense", ""])
def test_a_redis_that_is_not_there(
    make_job: Make, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv(URL_ENV, url)
    (found,) = look(make_job)
    assert found.state is State.BAD
    assert found.fix


@pytest.mark.redis
def test_a_slow_or_old_redis(server: str, make_job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    health = redis_health.RedisHealth("redis://far", 99.0, "7.2.4", "noeviction", "master", True)
    monkeypatch.setattr(services, "examine", lambda url, clock: health)
    assert look(make_job)[0].state is State.WARNING
    health = redis_health.RedisHealth("redis://old", 1.0, "5.0.14", "noeviction", "master", True)
    assert look(make_job)[0].state is State.BAD


@pytest.mark.redis
def test_the_latency_is_a_median(server: str) -> None:
    clock = iter(range(1000))
    assert redis_health.examine(server, lambda: float(next(clock))).latency_ms == 1000


def test_an_embedded_redis_needs_no_examination(make_job: Make) -> None:
    (found,) = services.redis(make_job())
    assert found.state is State.OK


def ask(make_job: Make, base_url: str, **changes: Any) -> list[Diagnosis]:
    job = make_job()
    settings = JobSettings.model_validate(
        job.model_dump() | {"expert": expert(base_url, **changes)}
    )
    return services.expert(settings)


def endpoint(**changes: Any) -> RunningEndpoint:
    settings = EndpointSettings(api_key=KEY, latency_ms_median=0, retry_after_s=0, **changes)
    return RunningEndpoint(settings, {text_key(services._QUESTION): "ok"})


def test_an_expert_that_answers(make_job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    with endpoint() as llm:
        found = ask(make_job, llm.base_url)
    assert [one.state for one in found] == [State.OK, State.OK]
    assert "'ok' in" in found[0].detail
    assert found[1].detail == "given"
    assert KEY not in repr(found)


@pytest.mark.parametrize("kind", ["nonsense", "429", "500"])
def test_an_expert_that_does_not(
    make_job: Make, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    with endpoint(failure_rate=1, failure_kinds=(kind,)) as llm:
        (found,) = ask(make_job, llm.base_url)
    assert found.state is State.BAD
    assert found.fix in services._FIXES.values()


def test_a_key_that_is_refused_or_not_there(
    make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_ENV, SECRET)
    with endpoint() as llm:
        (refused,) = ask(make_job, llm.base_url)
        monkeypatch.delenv(KEY_ENV)
        (missing,) = ask(make_job, llm.base_url)
    assert (refused.state, refused.fix) == (State.BAD, services._FIXES["http_401"])
    assert (missing.state, KEY_ENV in missing.detail) == (State.BAD, True)
    assert SECRET not in repr(refused)


def test_nobody_listens(make_job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        (found,) = ask(make_job, f"http://127.0.0.1:{probe.getsockname()[1]}/v1")
    assert (found.state, found.fix) == (State.BAD, services._FIXES["connection"])


def test_recorded_answers_need_nobody(make_job: Make) -> None:
    assert services.expert(make_job())[0].state is State.OK

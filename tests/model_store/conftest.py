"""Each law of the store runs on every backend that we ship."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from model_store.memory import MemoryBackend
from model_store.port import Backend
from model_store.redis_backend import RedisBackend
from model_store.store import ModelStore

START = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def backend(request: pytest.FixtureRequest, namespace: str) -> Iterator[Backend]:
    if request.param == "memory":
        yield MemoryBackend()
    else:
        with closing(RedisBackend(request.getfixturevalue("redis_url"), namespace)) as redis:
            yield redis


@pytest.fixture
def now() -> Callable[[], datetime]:
    """A clock that is a second later each time it is asked."""
    ticks = iter(range(1_000_000))
    return lambda: START + timedelta(seconds=next(ticks))


@pytest.fixture
def store(backend: Backend, now: Callable[[], datetime]) -> ModelStore:
    return ModelStore(backend, now=now)

"""For every layer: one Redis for the session, one namespace for each test, no timed properties."""

import uuid
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from model_store.embedded import EmbeddedRedis

# Properties are about what happens, never about how fast: a loaded machine fails no test. Loaded
# here, before any test module is imported, so that it holds for all of them.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def namespace() -> str:
    return f"test-{uuid.uuid4().hex}"

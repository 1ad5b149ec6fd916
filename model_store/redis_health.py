"""What there is to know of a Redis server before a job relies on it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from statistics import median

from model_store.errors import StoreUnavailable
from model_store.redis_connection import RedisConnection

_PINGS = 20


@dataclass(frozen=True)
class RedisHealth:
    """A server that answers.

    Attributes
    ----------
    address
        Without user and password.
    latency_ms
        Median round trip.
    version, eviction, role
        As the server names them; None if the user may not ask.
    persistent
        Whether it writes what it holds to a disk, by either means; None if the user may not ask.
    """

    address: str
    latency_ms: float
    version: str | None = None
    eviction: str | None = None
    role: str | None = None
    persistent: bool | None = None


def examine(url: str, monotonic: Callable[[], float]) -> RedisHealth:
    """Ask a server how it is.

    Raises
    ------
    StoreMisconfigured
        If the URL can never work.
    StoreUnavailable
        If it does not answer.
    """
    with closing(RedisConnection(url, retries=0)) as connection:
        times = []
        for _ in range(_PINGS):
            started = monotonic()
            connection.call(lambda client: client.ping())
            times.append(1000 * (monotonic() - started))
        try:
            info = connection.call(lambda client: client.info())
            saves = connection.call(lambda client: client.config_get("save"))
        except StoreUnavailable:  # the documented user may ask neither
            return RedisHealth(connection.address, median(times))
        return RedisHealth(
            connection.address,
            median(times),
            version=info["redis_version"],
            eviction=info["maxmemory_policy"],
            role=info["role"],
            persistent=bool(info["aof_enabled"] or saves.get("save")),
        )

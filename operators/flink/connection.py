"""How an operator on a worker reaches the store: by what the environment there says."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from model_store.errors import StoreMisconfigured
from model_store.ledger import Ledger
from model_store.redis_backend import RedisBackend
from model_store.redis_connection import DEFAULT_RETRIES, RedisConnection
from model_store.redis_ledger import RedisLedger
from model_store.store import ModelStore
from model_store.watch import HeadWatcher
from model_store.window import Window
from operators.secrets import read_secret

_POLL_INTERVAL_S = 1.0


@dataclass(frozen=True)
class StoreConnection:
    """Everything to reach the store but its secrets: safe to travel inside a job.

    Parameters
    ----------
    task
        Name of the task.
    run
        Name of the run: the budget and the counts are kept under it, so that a job that is
        restored goes on with what it had spent, and a new one starts afresh.
    url
        URL without a password, or None to read the environment.
    url_env
        Variable with the URL on the worker; with ``_FILE`` behind it, one that names a file.
    window
        What the run may draw by the clock, where its budget is one of those.
    """

    task: str
    run: str
    url: str | None
    url_env: str
    namespace: str
    retention: int
    answers_ttl_s: float
    window: Window | None = None

    def store(self) -> ModelStore:
        """Open the model store."""
        backend = RedisBackend(self._url(), self.namespace)
        return ModelStore(backend, retention=self.retention, now=lambda: datetime.now(UTC))

    def ledger(self, client: str = "-") -> Ledger:
        """Open the run's ledger.

        Parameters
        ----------
        client
            Who is granted calls, by a name that stays the same when it starts again.
        """
        name = f"{self.task}.{self.run}"
        ttl_s = self.answers_ttl_s
        return RedisLedger(self._url(), self.namespace, name, ttl_s, self.window, client=client)

    def watcher(self, store: ModelStore) -> HeadWatcher:
        """Watch the task's head."""
        return HeadWatcher(
            store, self.task, poll_interval_s=_POLL_INTERVAL_S, monotonic=time.monotonic
        )

    def redis(self, *, retries: int = DEFAULT_RETRIES) -> RedisConnection:
        """Connect to what else is in that Redis."""
        return RedisConnection(self._url(), retries=retries)

    def _url(self) -> str:
        try:
            url = self.url or read_secret(self.url_env)
        except ValueError as error:
            raise StoreMisconfigured(
                str(error), "make it readable on every TaskManager."
            ) from error
        if not url:
            raise StoreMisconfigured(
                f"The environment variable {self.url_env} is not set on this worker.",
                f"set it to the Redis URL, or {self.url_env}_FILE to the path of a file that holds "
                "it, on every TaskManager.",
            )
        return url

"""Everything that a job asks of its Redis, once."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

import numpy as np

from model_store.redis_backend import RedisBackend
from model_store.redis_ledger import RedisLedger
from model_store.store import ModelStore
from model_store.window import Window

TASK = "moderation"


def exercise(url: str, namespace: str, *, hints: bool = True) -> None:
    """Publish, load, roll back and follow releases; count, reserve, remember and forget calls."""
    with closing(RedisBackend(url, namespace)) as backend:
        store = ModelStore(backend, retention=2, now=lambda: datetime.now(UTC))
        subscription = store.subscribe(TASK)
        releases: list[str | None] = [store.head(TASK)]
        for number in range(4):
            weights = {"w": np.full(3, number, np.float32)}
            published = store.publish(TASK, weights, parent=releases[-1], stats={})
            releases.append(published.release)
        if hints:
            assert any(subscription.changed() for _ in range(100_000))
        subscription.close()
        before, last = str(releases[-2]), str(releases[-1])
        assert store.load(TASK, last).tensors["w"].tolist() == [3, 3, 3]
        assert len(store.releases(TASK)) == 2
        assert store.rollback(TASK, before).release == before
        assert store.tasks() == [TASK]
    window = Window(limit=9, length_s=60)
    with closing(RedisLedger(url, namespace, f"{TASK}.run", 60, window)) as ledger:
        ledger.begin()
        assert ledger.reserve(["a", "b"], 1) == [True, False]
        assert ledger.progress("0", seen=3, deferred=1).seen == 3
        ledger.settle(1)
        ledger.correct({"a": 0})
        ledger.remember({"a": b"1"})
        assert ledger.recall(["a", "b"]) == {"a": b"1"}
        ledger.forget(["a"])
        assert ledger.usage().reserved == 1

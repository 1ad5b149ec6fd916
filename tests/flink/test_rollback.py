"""The head of a running job moves: by a rollback, or to weights that can not be trusted."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from flink_job.connecting import connection
from flink_job.evaluation import read_decisions
from flink_job.run import run
from flink_job.settings import JobSettings
from model_store.manifest import Manifest
from model_store.names import release_sequence
from model_store.port import Publication
from model_store.store import ModelStore
from model_store.tensors import TensorRef
from operators.core.cascade import Cascade, Outcome
from operators.flink.telemetry import CascadeTelemetry
from operators.records import Event

pytestmark = pytest.mark.flink
Make = Callable[..., JobSettings]
Silent = Callable[[object], None]
EVENTS, ROLLED_BACK_AT, SETTLED_AFTER = 800, 320, 320


def number(release: str | None) -> int:
    return (release_sequence(release) if release else None) or 0


def test_a_rollback_takes_effect_on_all_subtasks(
    make_job: Make, posts: Path, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small blocks, each learned from before the next: the job is still at work after the rollback.
    job = make_job(
        source={"path": posts, "block": 16, "max_lag": 0, "fields": {"key": "author"}},
        flink={"parallelism": 2, "shards": 8, "checkpoint_interval_s": 0.5},
    )
    store = connection(job, "rollback").store()
    original, lock = Cascade.decide, threading.Lock()
    seen = 0
    target = latest = ""
    served: dict[int, list[tuple[int, str | None]]] = {}  # by subtask: events before, release

    def decide(self: Cascade, shard: str, events: Sequence[Event]) -> Outcome:
        nonlocal seen, target, latest
        with lock:
            if seen >= ROLLED_BACK_AT and not target:
                latest = store.head("moderation") or ""
                promoted = [m for m in store.releases("moderation") if m.rejected is None]
                target = store.rollback("moderation", promoted[-2].release).release
            served.setdefault(id(self), []).append((seen, self.release))
            seen += len(events)
        return original(self, shard, events)

    monkeypatch.setattr(Cascade, "decide", decide)
    outcome = run(job, "rollback", silent)
    assert outcome is not None
    assert outcome.evaluation.delivery.complete
    assert number(target) < number(latest)
    assert len(served) == 2
    for chunks in served.values():
        after = [release for before, release in chunks if before >= ROLLED_BACK_AT + SETTLED_AFTER]
        assert after
        # What was rolled back is served no more: the target is, or what was built on it since.
        assert all(r == target or number(r) > number(latest) for r in after)
    built = [m for m in store.releases("moderation") if m.sequence > number(latest)]
    assert built
    assert built[-1].parent == target
    named = {d.release for d in read_decisions(job.sink.path / "decisions")}
    assert {target, latest} <= named
    assert any(number(release) > number(latest) for release in named)


def smuggle_nan(store: ModelStore) -> str:
    """Make a release the head whose weights are not numbers, under their true hash."""
    backend, head = store._backend, store.head("moderation")
    blob = save({"tensor": np.array([np.nan], np.float32)})
    sha256 = hashlib.sha256(blob).hexdigest()
    sequence = backend.next_sequence("moderation")
    ref = TensorRef(sha256=sha256, dtype="float32", shape=(1,), nbytes=len(blob))
    bad = Manifest.seal(
        task="moderation",
        parent=head,
        sequence=sequence,
        created=datetime.now(UTC),
        tensors={"linear/bias": ref},
        stats={},
    )
    hashes = frozenset({sha256})
    backend.put_blob("moderation", sha256, blob)
    backend.publish(
        Publication("moderation", bad.release, sequence, bad.to_bytes(), hashes, head, keep=20)
    )
    return bad.release


def test_weights_that_can_not_be_trusted_are_counted_and_never_serve(
    make_job: Make, posts: Path, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(
        source={"path": posts, "block": 16, "max_lag": 0, "fields": {"key": "author"}},
    )
    store = connection(job, "bad").store()
    decide, begin, lock = Cascade.decide, CascadeTelemetry.__init__, threading.Lock()
    seen, bad = 0, ""
    reports: list[CascadeTelemetry] = []

    def deciding(self: Cascade, shard: str, events: Sequence[Event]) -> Outcome:
        nonlocal seen, bad
        with lock:
            seen += len(events)
            if seen >= ROLLED_BACK_AT and not bad:
                bad = smuggle_nan(store)
        return decide(self, shard, events)

    def beginning(self: CascadeTelemetry, *arguments: object) -> None:
        begin(self, *arguments)  # type: ignore[arg-type]  # handed on
        reports.append(self)

    monkeypatch.setattr(Cascade, "decide", deciding)
    monkeypatch.setattr(CascadeTelemetry, "__init__", beginning)
    outcome = run(job, "bad", silent)
    assert outcome is not None
    assert outcome.evaluation.delivery.complete
    assert store.head("moderation") == bad
    named = {decision.release for decision in read_decisions(job.sink.path / "decisions")}
    assert named
    assert bad not in named
    assert [report.rejected.total for report in reports] == [1]

"""The one head that publishers and rollbacks move, on every backend."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from threading import Barrier

import pytest

from model_store.errors import (
    BlobCorrupt,
    HeadConflict,
)
from model_store.manifest import Manifest
from model_store.port import Backend, Publication
from model_store.store import ModelStore
from tests.model_store.publishing import GHOST, TASK, Uploads, publish, weights


def test_only_the_head_can_be_published_on(store: ModelStore) -> None:
    first = publish(store, 1)
    second = publish(store, 2)
    for parent in (None, first.release, GHOST):
        with pytest.raises(HeadConflict) as conflict:
            store.publish(TASK, weights(3), parent=parent, stats={})
        assert (conflict.value.expected, conflict.value.actual) == (parent, second.release)
    assert store.head(TASK) == second.release
    assert len(store.releases(TASK)) == 2


def test_a_publisher_that_lost_the_head_uploads_nothing(
    backend: Backend, now: Callable[[], datetime]
) -> None:
    uploads = Uploads(backend)
    store = ModelStore(uploads, now=now)  # type: ignore[arg-type]  # delegates by name
    publish(store, 1)
    uploads.hashes.clear()
    with pytest.raises(HeadConflict):
        store.publish(TASK, weights(2), parent=None, stats={})
    assert uploads.hashes == []


def test_the_head_decides_at_the_very_end(backend: Backend, now: Callable[[], datetime]) -> None:
    other = ModelStore(backend, now=now)

    class Overtaken(Uploads):
        def put_blob(self, task: str, sha256: str, blob: bytes) -> None:
            if not self.hashes:
                publish(other, 7)
            super().put_blob(task, sha256, blob)

    store = ModelStore(Overtaken(backend), now=now)  # type: ignore[arg-type]  # delegates by name
    with pytest.raises(HeadConflict) as conflict:
        store.publish(TASK, weights(1), parent=None, stats={})
    assert conflict.value.actual == other.head(TASK)
    assert [manifest.stats for manifest in other.releases(TASK)] == [{"seed": 7}]


def test_of_concurrent_publishers_exactly_one_wins(
    backend: Backend, store: ModelStore, now: Callable[[], datetime]
) -> None:
    parent = publish(store, 0).release
    publishers = 6
    barrier = Barrier(publishers)

    def attempt(seed: int) -> Manifest | None:
        mine = ModelStore(backend, now=now)
        barrier.wait()
        try:
            return mine.publish(TASK, weights(seed), parent=parent, stats={})
        except HeadConflict:
            return None

    with ThreadPoolExecutor(publishers) as pool:
        won = [manifest for manifest in pool.map(attempt, range(1, 1 + publishers)) if manifest]
    assert len(won) == 1
    assert store.head(TASK) == won[0].release
    assert store.load(TASK, won[0].release).manifest == won[0]
    assert len(store.releases(TASK)) == 2


def test_a_repeated_publication_is_no_conflict(backend: Backend, store: ModelStore) -> None:
    # A client whose answer got lost sends the same publication again.
    first = publish(store, 1)
    publication = Publication(
        task=TASK,
        release=first.release,
        sequence=first.sequence,
        manifest=first.to_bytes(),
        hashes=frozenset(ref.sha256 for ref in first.tensors.values()),
        expected_head=None,
        keep=20,
    )
    assert backend.publish(publication) == frozenset()
    with pytest.raises(HeadConflict):
        backend.publish(replace(publication, release=GHOST))


def test_sequences_are_never_used_twice(store: ModelStore) -> None:
    first, second = publish(store, 1), publish(store, 2)
    store.rollback(TASK, first.release)
    third = publish(store, 3)
    assert first.sequence < second.sequence < third.sequence
    assert third.parent == first.release
    assert store.releases(TASK) == [third, second, first]


def test_rollback_moves_the_head_under_the_trainer(store: ModelStore) -> None:
    first, second = publish(store, 1), publish(store, 2)
    assert store.rollback(TASK, first.release) == first
    assert store.head(TASK) == first.release
    with pytest.raises(HeadConflict) as conflict:
        store.publish(TASK, weights(3), parent=second.release, stats={})
    assert conflict.value.actual == first.release
    assert store.publish(TASK, weights(3), parent=first.release, stats={}).parent == first.release


def test_rollback_to_a_release_that_does_not_load_leaves_the_head(
    backend: Backend, store: ModelStore
) -> None:
    first, second = publish(store, 1), publish(store, 2)
    backend.put_blob(TASK, first.tensors["level1/weight"].sha256, b"junk")
    with pytest.raises(BlobCorrupt):
        store.rollback(TASK, first.release)
    assert store.head(TASK) == second.release


def test_hints_tell_that_the_head_moved(store: ModelStore) -> None:
    subscription = store.subscribe(TASK)
    assert not subscription.changed()
    first = publish(store, 1)
    assert wait_for_hint(subscription.changed)
    assert not subscription.changed()
    publish(store, 2, "spam")
    store.rollback(TASK, first.release)
    assert wait_for_hint(subscription.changed)
    subscription.close()
    subscription.close()


def wait_for_hint(changed: Callable[[], bool]) -> bool:
    # The server sends the message before it answers the publisher, yet on another socket.
    return any(changed() for _ in range(100_000))

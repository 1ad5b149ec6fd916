"""What is kept of old releases, and what is cleared away, on every backend."""

from collections.abc import Callable
from datetime import datetime

import numpy as np
import pytest

from model_store.errors import (
    BlobMissing,
    ReleaseNotFound,
    StoreMisconfigured,
)
from model_store.port import Backend, Publication
from model_store.store import ModelStore
from tests.model_store.publishing import TASK, Uploads, publish, weights


def test_retention_keeps_the_newest_and_their_blobs(
    backend: Backend, now: Callable[[], datetime]
) -> None:
    store = ModelStore(backend, retention=2, now=now)
    shared = {"level1/frozen": np.ones(5, np.float32)}
    published = [
        store.publish(TASK, weights(seed) | shared, parent=store.head(TASK), stats={})
        for seed in range(4)
    ]
    assert store.releases(TASK) == [published[3], published[2]]
    for manifest in published[2:]:
        assert store.load(TASK, manifest.release)
    with pytest.raises(ReleaseNotFound):
        store.load(TASK, published[1].release)
    named = {ref.sha256 for manifest in published for ref in manifest.tensors.values()}
    kept = {ref.sha256 for manifest in published[2:] for ref in manifest.tensors.values()}
    assert backend.blob_sizes(TASK, named).keys() == kept


def test_retention_never_takes_the_head(backend: Backend, now: Callable[[], datetime]) -> None:
    store = ModelStore(backend, retention=1, now=now)
    for seed in range(3):
        head = publish(store, seed)
        assert store.releases(TASK) == [head]
        assert store.load(TASK, head.release)


def test_a_head_that_is_not_the_newest_is_kept(backend: Backend, store: ModelStore) -> None:
    # A slow publisher: numbered first, published last, after a rollback gave it back its parent.
    head = publish(store, 1).release
    slow = Publication(
        task=TASK,
        release="r000000-0123456789ab",
        sequence=0,
        manifest=b"slow",
        hashes=frozenset(),
        expected_head=head,
        keep=1,
    )
    assert not backend.publish(slow)
    assert backend.head(TASK) == slow.release
    assert set(backend.manifests(TASK)) == {head, slow.release}


def test_an_old_release_that_was_rolled_back_to_survives_only_as_head(
    backend: Backend, now: Callable[[], datetime]
) -> None:
    store = ModelStore(backend, retention=2, now=now)
    first, second = publish(store, 1), publish(store, 2)
    store.rollback(TASK, first.release)
    third = publish(store, 3)
    assert store.releases(TASK) == [third, second]
    assert store.load(TASK, third.release).manifest.parent == first.release


def test_blobs_of_a_publication_that_failed_are_cleared_by_the_next(
    backend: Backend, store: ModelStore
) -> None:
    backend.put_blob(TASK, "a" * 64, b"orphan")
    publish(store, 1)
    assert backend.blob_sizes(TASK, ["a" * 64]) == {}


def test_blobs_that_vanish_before_publication_are_uploaded_again(
    backend: Backend, now: Callable[[], datetime]
) -> None:
    class Forgetful(Uploads):
        def put_blob(self, task: str, sha256: str, blob: bytes) -> None:
            self.hashes.append(sha256)
            if len(self.hashes) > losses:
                self.backend.put_blob(task, sha256, blob)

    losses = 3
    store = ModelStore(Forgetful(backend), now=now)  # type: ignore[arg-type]  # delegates by name
    assert store.load(TASK, publish(store, 1).release)

    losses = 1_000
    with pytest.raises(BlobMissing, match="noeviction"):
        publish(store, 2)
    assert len(store.releases(TASK)) == 1


def test_a_retention_of_nothing_is_refused(backend: Backend, now: Callable[[], datetime]) -> None:
    with pytest.raises(StoreMisconfigured, match="Operator action"):
        ModelStore(backend, retention=0, now=now)

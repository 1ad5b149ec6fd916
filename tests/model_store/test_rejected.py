"""Releases that are kept and never serve, on every backend."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from model_store.errors import HeadConflict, ManifestInvalid, ReleaseNotFound, ReleaseRejected
from model_store.manifest import Manifest
from model_store.port import Backend, Publication
from model_store.store import ModelStore

TASK = "hate"
REASON = "worse on 40 annotations"


def publish(store: ModelStore, seed: int, rejected: str | None = None) -> Manifest:
    weights = {"w": np.full(3, seed, np.float32)}
    head = store.head(TASK)
    return store.publish(TASK, weights, parent=head, stats={"seed": seed}, rejected=rejected)


def test_a_rejected_release_is_kept_and_does_not_serve(store: ModelStore) -> None:
    head = publish(store, 1)
    hints = store.subscribe(TASK)
    rejected = publish(store, 2, REASON)
    assert (rejected.rejected, rejected.parent) == (REASON, head.release)
    assert store.head(TASK) == head.release
    assert not hints.changed()
    hints.close()
    assert store.releases(TASK) == [rejected, head]
    assert store.load(TASK, rejected.release).manifest == rejected
    assert store.manifest(TASK, rejected.release).rejected == REASON
    # The next one builds on the head, not on what was rejected.
    assert publish(store, 3).parent == head.release


def test_a_rejected_release_needs_the_head_that_it_was_held_against(store: ModelStore) -> None:
    first, second = publish(store, 1), publish(store, 2)
    with pytest.raises(HeadConflict) as conflict:
        store.publish(
            TASK,
            {"w": np.ones(1, np.float32)},
            parent=first.release,
            stats={},
            rejected=REASON,
        )
    assert conflict.value.actual == second.release
    assert len(store.releases(TASK)) == 2


def test_rollback_to_a_rejected_release_must_be_meant(store: ModelStore) -> None:
    head, rejected = publish(store, 1), publish(store, 2, REASON)
    with pytest.raises(ReleaseRejected, match=rf"{REASON}\. Operator action"):
        store.rollback(TASK, rejected.release)
    assert store.head(TASK) == head.release
    assert store.rollback(TASK, rejected.release, even_rejected=True) == rejected
    assert store.head(TASK) == rejected.release
    assert store.rollback(TASK, head.release) == head


def test_rejected_releases_push_out_no_others(
    backend: Backend, now: Callable[[], datetime]
) -> None:
    store = ModelStore(backend, retention=2, now=now)
    promoted = [publish(store, seed) for seed in range(3)][1:]
    rejected = [publish(store, seed, REASON) for seed in range(10, 20)]
    kept = store.releases(TASK)
    assert kept[-2:] == promoted[::-1]
    assert kept[:-2] == rejected[::-1][: len(kept) - 2]
    assert 1 <= len(kept) - 2 < len(rejected)
    for manifest in kept:
        assert store.load(TASK, manifest.release)
    gone = rejected[0]
    assert not backend.blob_sizes(TASK, [gone.tensors["w"].sha256])
    with pytest.raises(ReleaseNotFound):
        store.rollback(TASK, gone.release, even_rejected=True)


def test_retention_never_takes_a_rejected_release_that_serves(
    backend: Backend, now: Callable[[], datetime]
) -> None:
    store = ModelStore(backend, retention=1, now=now)
    publish(store, 1)
    serving = publish(store, 2, REASON)
    store.rollback(TASK, serving.release, even_rejected=True)
    for seed in range(10, 20):
        publish(store, seed, REASON)
    assert store.head(TASK) == serving.release
    assert store.load(TASK, serving.release).manifest == serving
    # As soon as another serves, it is one of the rejected again, and an old one.
    publish(store, 3)
    publish(store, 20, REASON)
    assert serving not in store.releases(TASK)


def test_a_repeated_rejection_is_no_conflict(backend: Backend, store: ModelStore) -> None:
    head = publish(store, 1)
    rejected = publish(store, 2, REASON)
    publication = Publication(
        task=TASK,
        release=rejected.release,
        sequence=rejected.sequence,
        manifest=rejected.to_bytes(),
        hashes=frozenset(ref.sha256 for ref in rejected.tensors.values()),
        expected_head=head.release,
        keep=20,
        rejected=True,
    )
    assert backend.publish(publication) == frozenset()
    publish(store, 3)
    assert backend.publish(publication) == frozenset()
    with pytest.raises(HeadConflict):
        backend.publish(replace(publication, release="r000099-0123456789ab"))


@pytest.mark.parametrize("reason", ["", "x" * 1001])
def test_a_reason_is_a_short_text(store: ModelStore, reason: str) -> None:
    head = publish(store, 1)
    with pytest.raises(ManifestInvalid, match="rejected"):
        publish(store, 2, reason)
    assert store.releases(TASK) == [head]


def test_the_manifest_of_a_promoted_release_says_nothing_of_rejection(store: ModelStore) -> None:
    assert b"rejected" not in publish(store, 1).to_bytes()
    assert REASON.encode() in publish(store, 2, REASON).to_bytes()

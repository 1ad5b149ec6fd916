"""Blobs and manifests that are not what they should be, on every backend."""

import hashlib
from collections.abc import Callable
from datetime import datetime

import numpy as np
import pytest
from safetensors.numpy import save

from model_store.errors import (
    BlobCorrupt,
    BlobMissing,
    ManifestInvalid,
    TensorMismatch,
)
from model_store.port import Backend, Publication
from model_store.store import ModelStore
from model_store.tensors import Array, TensorRef
from tests.model_store.publishing import TASK, Uploads, publish, smuggle


@pytest.mark.parametrize(
    "blob",
    [
        b"x" * 90,
        b"",
        b"cut",
        b"x" * 10_000,
    ],
)
def test_a_head_with_a_bad_blob_does_not_load_and_the_old_release_does(
    backend: Backend, store: ModelStore, blob: bytes
) -> None:
    good = publish(store, 1)
    bad = smuggle(backend, store, blob=blob)
    with pytest.raises((BlobCorrupt, BlobMissing)):
        store.load(TASK, bad)
    assert store.load(TASK, good.release).manifest == good
    assert store.rollback(TASK, good.release) == good
    assert publish(store, 2).parent == good.release


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (np.array([1, np.nan], np.float32), (2,)),
        (np.array([1, np.inf], np.float32), (2,)),
        (np.ones(3, np.float32), (2,)),
        (np.ones(2, np.int32), (2,)),
    ],
)
def test_a_head_with_weights_that_are_wrong_under_their_true_hash_does_not_load(
    backend: Backend, store: ModelStore, array: Array, shape: tuple[int, ...]
) -> None:
    good = publish(store, 1)
    blob = save({"tensor": array})
    sha256 = hashlib.sha256(blob).hexdigest()
    ref = TensorRef(sha256=sha256, dtype="float32", shape=shape, nbytes=len(blob))
    bad = smuggle(backend, store, blob=blob, ref=ref)
    for attempt in (store.load, store.rollback):
        with pytest.raises(TensorMismatch, match="level1/weight"):
            attempt(TASK, bad)
    assert store.load(TASK, good.release).manifest == good


def test_a_missing_blob_is_named(backend: Backend, store: ModelStore) -> None:
    bad = smuggle(backend, store)
    with pytest.raises(BlobMissing, match="Operator action") as missing:
        store.load(TASK, bad)
    assert missing.value.hashes == {"0" * 64}


def test_a_blob_that_is_too_large_is_not_fetched(
    backend: Backend, store: ModelStore, now: Callable[[], datetime]
) -> None:
    bad = smuggle(backend, store, blob=b"x" * 100_000)

    class Watched(Uploads):
        def get_blob(self, task: str, sha256: str) -> bytes | None:
            raise AssertionError(task, sha256)

    watched = ModelStore(Watched(backend), now=now)  # type: ignore[arg-type]  # delegates by name
    with pytest.raises(BlobCorrupt, match="100000 bytes instead of 90"):
        watched.load(TASK, bad)


def test_a_tampered_manifest_is_refused(backend: Backend, store: ModelStore) -> None:
    good = publish(store, 1)
    bad = smuggle(backend, store, manifest=b'{"__reduce__": "os.system"}')
    for attempt in (store.load, store.rollback, store.manifest):
        with pytest.raises(ManifestInvalid, match=bad):
            attempt(TASK, bad)
    with pytest.raises(ManifestInvalid, match=bad):
        store.releases(TASK)
    assert store.rollback(TASK, good.release) == good


def test_the_manifest_of_another_task_is_refused(backend: Backend, store: ModelStore) -> None:
    foreign = publish(store, 1, "spam")
    publication = Publication(
        task=TASK,
        release=foreign.release,
        sequence=1,
        manifest=foreign.to_bytes(),
        hashes=frozenset(),
        expected_head=None,
        keep=20,
    )
    backend.publish(publication)
    with pytest.raises(ManifestInvalid, match="belongs to task 'spam'"):
        store.load(TASK, foreign.release)


def test_the_manifest_of_another_release_is_refused(backend: Backend, store: ModelStore) -> None:
    good = publish(store, 1)
    bad = smuggle(backend, store, manifest=good.to_bytes())
    with pytest.raises(ManifestInvalid, match="is that of release"):
        store.load(TASK, bad)


def test_a_head_that_is_no_release_id_is_refused(backend: Backend, store: ModelStore) -> None:
    backend.publish(
        Publication(
            task=TASK,
            release="../../etc/passwd",
            sequence=1,
            manifest=b"",
            hashes=frozenset(),
            expected_head=None,
            keep=20,
        )
    )
    with pytest.raises(ManifestInvalid, match="no release id"):
        store.head(TASK)

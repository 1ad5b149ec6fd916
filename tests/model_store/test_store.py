"""What goes into the store and comes out of it, on every backend."""

from collections.abc import Callable
from datetime import datetime

import numpy as np
import pytest

from model_store.errors import (
    BlobCorrupt,
    BlobMissing,
    HeadConflict,
    ManifestInvalid,
    ReleaseNotFound,
    StoreError,
    TensorMismatch,
)
from model_store.port import Backend
from model_store.store import ModelStore
from model_store.tensors import Array
from tests.model_store.publishing import GHOST, TASK, Uploads, publish, weights


def test_an_empty_store(store: ModelStore) -> None:
    assert store.head(TASK) is None
    assert store.releases(TASK) == []
    assert store.tasks() == []
    with pytest.raises(ReleaseNotFound, match="Operator action"):
        store.load(TASK, GHOST)
    with pytest.raises(ReleaseNotFound):
        store.rollback(TASK, GHOST)


def test_what_was_published_is_what_loads(store: ModelStore) -> None:
    first = publish(store, 1)
    second = publish(store, 2)
    for seed, manifest in ((1, first), (2, second)):
        release = store.load(TASK, manifest.release)
        assert release.manifest == manifest == store.manifest(TASK, manifest.release)
        assert release.tensors.keys() == weights(seed).keys()
        for name, array in weights(seed).items():
            np.testing.assert_array_equal(release.tensors[name], array, strict=True)
    assert store.head(TASK) == second.release
    assert second.parent == first.release
    assert store.releases(TASK) == [second, first]


def test_tasks_are_apart(store: ModelStore) -> None:
    hate, spam = publish(store, 1, "hate"), publish(store, 2, "spam")
    assert store.tasks() == ["hate", "spam"]
    assert store.head("hate") == hate.release
    assert store.releases("spam") == [spam]
    with pytest.raises(ReleaseNotFound):
        store.load("hate", spam.release)


@pytest.mark.redis
def test_namespaces_are_apart(redis_url: str, namespace: str, now: Callable[[], datetime]) -> None:
    from model_store.redis_backend import RedisBackend

    one, two = (
        ModelStore(RedisBackend(redis_url, f"{namespace}-{suffix}"), now=now) for suffix in "ab"
    )
    publish(one, 1)
    assert two.head(TASK) is None
    assert two.tasks() == []


def test_publishing_identical_tensors_uploads_nothing(
    backend: Backend, now: Callable[[], datetime]
) -> None:
    uploads = Uploads(backend)
    store = ModelStore(uploads, now=now)  # type: ignore[arg-type]  # delegates by name
    first = publish(store, 1)
    assert sorted(uploads.hashes) == sorted(ref.sha256 for ref in first.tensors.values())
    uploads.hashes.clear()
    second = store.publish(TASK, weights(1), parent=first.release, stats={})
    assert uploads.hashes == []
    assert second.tensors == first.tensors
    assert second.release != first.release


def test_equal_tensors_of_a_release_share_a_blob(
    backend: Backend, now: Callable[[], datetime]
) -> None:
    uploads = Uploads(backend)
    store = ModelStore(uploads, now=now)  # type: ignore[arg-type]  # delegates by name
    array = np.ones(3, np.float32)
    manifest = store.publish(TASK, {"a": array, "b": array}, parent=None, stats={})
    assert len(uploads.hashes) == 1
    assert store.load(TASK, manifest.release).tensors.keys() == {"a", "b"}


def test_a_blob_that_was_cut_short_is_uploaded_anew(backend: Backend, store: ModelStore) -> None:
    first = publish(store, 1)
    sha256 = first.tensors["level1/weight"].sha256
    backend.put_blob(TASK, sha256, b"cut")
    second = store.publish(TASK, weights(1), parent=first.release, stats={})
    assert store.load(TASK, second.release)


def test_known_tensors_are_not_fetched_again(backend: Backend, store: ModelStore) -> None:
    first = publish(store, 1)
    loaded = store.load(TASK, first.release)
    for ref in first.tensors.values():
        backend.put_blob(TASK, ref.sha256, b"would be refused")
    again = store.load(TASK, first.release, known=loaded.by_hash())
    assert all(again.tensors[name] is array for name, array in loaded.tensors.items())


def test_known_tensors_are_held_against_the_manifest(store: ModelStore) -> None:
    first = publish(store, 1)
    lie = {ref.sha256: np.zeros(1, np.float32) for ref in first.tensors.values()}
    with pytest.raises(TensorMismatch):
        store.load(TASK, first.release, known=lie)


@pytest.mark.parametrize("name", ["", "../hate", "a/b", "a:b", "{a}", "a\n", "x" * 101])
def test_malformed_names_are_refused_before_the_store_is_asked(
    store: ModelStore, name: str
) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: store.head(name),
        lambda: store.releases(name),
        lambda: store.subscribe(name),
        lambda: store.publish(name, weights(1), parent=None, stats={}),
        lambda: store.load(name, GHOST),
        lambda: store.load(TASK, name),
        lambda: store.rollback(TASK, name),
        lambda: store.publish(TASK, {name + "/../x": np.ones(1)}, parent=None, stats={}),
        lambda: store.publish(TASK, weights(1), parent=None, stats={name: 1}),
    ]
    for attempt in attempts:
        with pytest.raises((ManifestInvalid, TensorMismatch)):
            attempt()
    assert store.tasks() == []


@pytest.mark.parametrize(
    "array", [np.array([np.nan], np.float32), np.ones(2), np.array([object()])]
)
def test_bad_weights_are_refused_before_anything_is_stored(
    backend: Backend, now: Callable[[], datetime], array: Array
) -> None:
    uploads = Uploads(backend)
    store = ModelStore(uploads, now=now)  # type: ignore[arg-type]  # delegates by name
    good = publish(store, 1)
    uploads.hashes.clear()
    with pytest.raises(TensorMismatch):
        store.publish(TASK, weights(2) | {"bad": array}, parent=good.release, stats={})
    assert uploads.hashes == []
    assert store.head(TASK) == good.release


def test_every_error_is_a_store_error_with_an_action() -> None:
    errors = [
        ReleaseNotFound(TASK, GHOST),
        BlobMissing(TASK, GHOST, frozenset({"0" * 64})),
        BlobCorrupt("a", "0" * 64, "junk"),
        ManifestInvalid(TASK, None, "junk"),
        TensorMismatch("a", "junk"),
        HeadConflict(TASK, None, GHOST),
    ]
    for error in errors:
        assert isinstance(error, StoreError)
        assert "Operator action: " in str(error)

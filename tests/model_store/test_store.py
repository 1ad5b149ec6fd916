"""The laws of the store, on every backend."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from threading import Barrier

import numpy as np
import pytest
from safetensors.numpy import save

from model_store.errors import (
    BlobCorrupt,
    BlobMissing,
    HeadConflict,
    ManifestInvalid,
    ReleaseNotFound,
    StoreError,
    StoreMisconfigured,
    TensorMismatch,
)
from model_store.manifest import Manifest
from model_store.port import Backend, Publication
from model_store.store import ModelStore
from model_store.tensors import Array, TensorRef

TASK = "hate"
GHOST = "r000099-0123456789ab"
UNTRUE = TensorRef(sha256="0" * 64, dtype="float32", shape=(2,), nbytes=90)


def weights(seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        "level1/weight": rng.normal(size=(4, 2)).astype(np.float32),
        "level2/steps": np.array(seed, np.int64),
    }


def publish(store: ModelStore, seed: int, task: str = TASK) -> Manifest:
    return store.publish(task, weights(seed), parent=store.head(task), stats={"seed": seed})


def smuggle(
    backend: Backend,
    store: ModelStore,
    *,
    blob: bytes | None = None,
    manifest: bytes | None = None,
    ref: TensorRef = UNTRUE,
) -> str:
    """Make a release the head whose blob or manifest are not what they should be."""
    head = store.head(TASK)
    sealed = Manifest.seal(
        task=TASK,
        parent=head,
        sequence=backend.next_sequence(TASK),
        created=datetime.fromisoformat("2025-01-01T00:00:00Z"),
        tensors={"level1/weight": ref},
        stats={},
    )
    publication = Publication(
        task=TASK,
        release=sealed.release,
        sequence=sealed.sequence,
        manifest=sealed.to_bytes() if manifest is None else manifest,
        hashes=frozenset(),
        expected_head=head,
        keep=20,
    )
    assert not backend.publish(publication)
    if blob is not None:
        backend.put_blob(TASK, ref.sha256, blob)
    return sealed.release


class Uploads:
    """A backend that counts what is uploaded to the one inside."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.hashes: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self.backend, name)

    def put_blob(self, task: str, sha256: str, blob: bytes) -> None:
        self.hashes.append(sha256)
        self.backend.put_blob(task, sha256, blob)


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


def test_a_retention_of_nothing_is_refused(backend: Backend, now: Callable[[], datetime]) -> None:
    with pytest.raises(StoreMisconfigured, match="Operator action"):
        ModelStore(backend, retention=0, now=now)


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

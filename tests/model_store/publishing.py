"""Releases for the tests of the store, sound ones and others."""

from datetime import datetime

import numpy as np

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

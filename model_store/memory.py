"""The backend for tests, studies and replay in one process."""

from collections.abc import Collection
from dataclasses import dataclass, field
from threading import Lock

from model_store.errors import HeadConflict
from model_store.port import Publication, Subscription


@dataclass
class _Task:
    head: str | None = None
    sequence: int = 0
    moves: int = 0
    releases: dict[str, Publication] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def move_head(self, release: str) -> None:
        self.head = release
        self.moves += 1

    def retain(self, latest: Publication) -> None:
        kind = [kept for kept in self.releases.values() if kept.rejected == latest.rejected]
        newest = sorted(kind, key=lambda kept: kept.sequence, reverse=True)
        for old in newest[latest.keep :]:
            if old.release not in (self.head, latest.release):
                del self.releases[old.release]
        named = {sha256 for kept in self.releases.values() for sha256 in kept.hashes}
        self.blobs = {sha256: blob for sha256, blob in self.blobs.items() if sha256 in named}


class MemoryBackend:
    """A `Backend` in the memory of one process, safe for its threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tasks: dict[str, _Task] = {}

    def tasks(self) -> list[str]:
        """See `Backend.tasks`."""
        with self._lock:
            return sorted(name for name, task in self._tasks.items() if task.head is not None)

    def head(self, task: str) -> str | None:
        """See `Backend.head`."""
        with self._lock:
            return self._task(task).head

    def next_sequence(self, task: str) -> int:
        """See `Backend.next_sequence`."""
        with self._lock:
            state = self._task(task)
            state.sequence += 1
            return state.sequence

    def manifest(self, task: str, release: str) -> bytes | None:
        """See `Backend.manifest`."""
        return self.manifests(task).get(release)

    def manifests(self, task: str) -> dict[str, bytes]:
        """See `Backend.manifests`."""
        with self._lock:
            return {name: kept.manifest for name, kept in self._task(task).releases.items()}

    def blob_sizes(self, task: str, hashes: Collection[str]) -> dict[str, int]:
        """See `Backend.blob_sizes`."""
        with self._lock:
            blobs = self._task(task).blobs
            return {sha256: len(blobs[sha256]) for sha256 in hashes if sha256 in blobs}

    def get_blob(self, task: str, sha256: str) -> bytes | None:
        """See `Backend.get_blob`."""
        with self._lock:
            return self._task(task).blobs.get(sha256)

    def put_blob(self, task: str, sha256: str, blob: bytes) -> None:
        """See `Backend.put_blob`."""
        with self._lock:
            self._task(task).blobs[sha256] = blob

    def publish(self, publication: Publication) -> frozenset[str]:
        """See `Backend.publish`."""
        with self._lock:
            state = self._task(publication.task)
            known = publication.release in state.releases
            if state.head == publication.release or (publication.rejected and known):
                return frozenset()
            if state.head != publication.expected_head:
                raise HeadConflict(publication.task, publication.expected_head, state.head)
            missing = publication.hashes - state.blobs.keys()
            if missing:
                return missing
            state.releases[publication.release] = publication
            if not publication.rejected:
                state.move_head(publication.release)
            state.retain(publication)
            return frozenset()

    def move_head(self, task: str, release: str) -> bool:
        """See `Backend.move_head`."""
        with self._lock:
            state = self._task(task)
            if release not in state.releases:
                return False
            state.move_head(release)
            return True

    def subscribe(self, task: str) -> Subscription:
        """See `Backend.subscribe`."""
        with self._lock:
            return _MemorySubscription(self._task(task))

    def _task(self, name: str) -> _Task:
        return self._tasks.setdefault(name, _Task())


class _MemorySubscription:
    def __init__(self, task: _Task) -> None:
        self._task = task
        self._seen = task.moves

    def changed(self) -> bool:
        moves = self._task.moves
        changed = moves != self._seen
        self._seen = moves
        return changed

    def close(self) -> None:
        """Nothing is held."""

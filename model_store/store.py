"""Publish, load and roll back releases, trusting neither the network nor what is stored."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from model_store.errors import (
    BlobCorrupt,
    BlobMissing,
    HeadConflict,
    ManifestInvalid,
    ReleaseNotFound,
    ReleaseRejected,
    StoreMisconfigured,
)
from model_store.manifest import Manifest, Release, StatValue
from model_store.names import NAME_RULE, is_name, release_sequence
from model_store.port import Backend, Publication, Subscription
from model_store.tensors import Array, TensorRef, check, decode, encode, reference

DEFAULT_RETENTION: Final = 20
# Enough to see what went wrong: nobody goes back further among releases that nobody wants.
_REJECTED_RETENTION: Final = 5
# Another publisher's retention may take a blob away between upload and publication. It happens
# only when that publisher wins, after which this one conflicts: a second round is rare enough.
_UPLOAD_ROUNDS: Final = 3


class ModelStore:
    """The releases of all tasks, on a backend.

    Parameters
    ----------
    backend
        Where the bytes live.
    retention
        How many of the newest releases of a task stay, at least 1; the head always does. Rejected
        ones are counted apart, so that however many there are, the way back stays open.
    now
        The clock for the creation time of releases; returns aware times.

    Notes
    -----
    Every method may raise `StoreUnavailable`, and `ManifestInvalid` on a malformed name of a task
    or release. Repeating a call is always safe. Threads may share a store.
    """

    def __init__(
        self, backend: Backend, *, retention: int = DEFAULT_RETENTION, now: Callable[[], datetime]
    ) -> None:
        if retention < 1:
            raise StoreMisconfigured(
                f"A retention of {retention} releases keeps nothing.", "keep 1 release or more."
            )
        self._backend = backend
        self._retention = retention
        self._now = now

    def publish(
        self,
        task: str,
        tensors: Mapping[str, Array],
        *,
        parent: str | None,
        stats: Mapping[str, StatValue],
        rejected: str | None = None,
    ) -> Manifest:
        """Publish a release on top of `parent` and make it the head, all or nothing.

        Parameters
        ----------
        task
            The task that it answers.
        tensors
            All weights by name: dtype in ``tensors.DTYPES``, finite. Only those whose content is
            not in the store yet are uploaded.
        parent
            The head that the publisher knows; None for the first release of a task.
        stats
            Numbers and short texts about the release.
        rejected
            Why it must not become the head, without a full stop: it is kept to be looked at.

        Returns
        -------
        Manifest
            Of the release, which is the head now unless it was rejected.

        Raises
        ------
        TensorMismatch, ManifestInvalid
            On content that a reader would refuse; nothing was stored.
        HeadConflict
            When the head is not `parent`: adopt ``error.actual``, then publish on that.
        BlobMissing
            When the store keeps losing uploaded blobs.
        """
        _check_task(task)
        blobs: dict[str, bytes] = {}
        refs: dict[str, TensorRef] = {}
        for name, array in tensors.items():
            blob = encode(array, name=name)
            refs[name] = reference(array, blob)
            blobs[refs[name].sha256] = blob
        # `Backend.publish` decides; this only saves a publisher that lost the head the upload.
        head = self._backend.head(task)
        if head != parent:
            raise HeadConflict(task, parent, head)
        manifest = Manifest.seal(
            task=task,
            parent=parent,
            sequence=self._backend.next_sequence(task),
            created=self._now(),
            tensors=refs,
            stats=stats,
            rejected=rejected,
        )
        publication = Publication(
            task=task,
            release=manifest.release,
            sequence=manifest.sequence,
            manifest=manifest.to_bytes(),
            hashes=frozenset(blobs),
            expected_head=parent,
            keep=self._retention if rejected is None else _REJECTED_RETENTION,
            rejected=rejected is not None,
        )
        missing: frozenset[str] = frozenset()
        for _ in range(_UPLOAD_ROUNDS):
            self._upload(task, blobs)
            missing = self._backend.publish(publication)
            if not missing:
                return manifest
        raise BlobMissing(task, manifest.release, missing)

    def head(self, task: str) -> str | None:
        """Return the id of the release in use, None where nothing was published.

        Raises
        ------
        ManifestInvalid
            When what the store holds is no release id.
        """
        _check_task(task)
        head = self._backend.head(task)
        if head is not None:
            _check_release(task, head)
        return head

    def manifest(self, task: str, release: str) -> Manifest:
        """Return the manifest of a release.

        Raises
        ------
        ReleaseNotFound
            When it is not there.
        ManifestInvalid
            When it is not exactly what was published under this id.
        """
        _check_task(task)
        _check_release(task, release)
        data = self._backend.manifest(task, release)
        if data is None:
            raise ReleaseNotFound(task, release)
        return Manifest.from_bytes(data, task=task, release=release)

    def load(self, task: str, release: str, *, known: Mapping[str, Array] | None = None) -> Release:
        """Return a release with all its tensors, each checked, or raise.

        Parameters
        ----------
        task, release
            Which.
        known
            Arrays by sha256 that need not be fetched again, from ``Release.by_hash``.

        Raises
        ------
        ReleaseNotFound, ManifestInvalid
            As `manifest`.
        BlobMissing, BlobCorrupt, TensorMismatch
            When a tensor is not exactly what was published. The caller keeps what it has.
        """
        manifest = self.manifest(task, release)
        known = known or {}
        wanted = {ref.sha256 for ref in manifest.tensors.values()} - known.keys()
        sizes = self._backend.blob_sizes(task, wanted)
        if missing := wanted - sizes.keys():
            raise BlobMissing(task, release, frozenset(missing))
        loaded: dict[str, Array] = {}
        tensors: dict[str, Array] = {}
        for name, ref in manifest.tensors.items():
            array = known.get(ref.sha256, loaded.get(ref.sha256))
            if array is None:
                # Size first: a blob that is too large must not even be fetched.
                if sizes[ref.sha256] != ref.nbytes:
                    reason = f"{sizes[ref.sha256]} bytes instead of {ref.nbytes}"
                    raise BlobCorrupt(name, ref.sha256, reason)
                blob = self._backend.get_blob(task, ref.sha256)
                if blob is None:
                    raise BlobMissing(task, release, frozenset({ref.sha256}))
                array = loaded[ref.sha256] = decode(blob, ref, name=name)
            check(array, ref, name=name)
            tensors[name] = array
        return Release(manifest=manifest, tensors=tensors)

    def releases(self, task: str) -> list[Manifest]:
        """Return the manifests of the task, newest first, those of rejected releases included.

        Raises
        ------
        ManifestInvalid
            When one of them is not what was published; the error names it.
        """
        _check_task(task)
        manifests = [
            Manifest.from_bytes(data, task=task, release=release)
            for release, data in self._backend.manifests(task).items()
        ]
        return sorted(manifests, key=lambda manifest: manifest.sequence, reverse=True)

    def rollback(self, task: str, release: str, *, even_rejected: bool = False) -> Manifest:
        """Make an earlier release the head again, if it still loads.

        A trainer that publishes on the head it knew gets a `HeadConflict`, and adopts this one.

        Parameters
        ----------
        task, release
            Which.
        even_rejected
            Take a release that was rejected, too.

        Raises
        ------
        ReleaseRejected
            When it was rejected, and that was not asked for; the head stays.
        ReleaseNotFound, ManifestInvalid, BlobMissing, BlobCorrupt, TensorMismatch
            As `load`; the head stays.
        """
        manifest = self.load(task, release).manifest
        if manifest.rejected is not None and not even_rejected:
            raise ReleaseRejected(task, release, manifest.rejected)
        if not self._backend.move_head(task, release):
            # Retention took it in the meantime.
            raise ReleaseNotFound(task, release)
        return manifest

    def tasks(self) -> list[str]:
        """Return the tasks that have a release, sorted."""
        return [task for task in self._backend.tasks() if is_name(task)]

    def subscribe(self, task: str) -> Subscription:
        """Return hints that the head of the task may have moved; see ``watch.HeadWatcher``."""
        _check_task(task)
        return self._backend.subscribe(task)

    def _upload(self, task: str, blobs: Mapping[str, bytes]) -> None:
        # By size, so that a blob that was cut short is written anew.
        sizes = self._backend.blob_sizes(task, blobs.keys())
        for sha256, blob in blobs.items():
            if sizes.get(sha256) != len(blob):
                self._backend.put_blob(task, sha256, blob)


def _check_task(task: str) -> None:
    if not is_name(task):
        raise ManifestInvalid(task, None, f"the task is no name ({NAME_RULE})")


def _check_release(task: str, release: str) -> None:
    if release_sequence(release) is None:
        raise ManifestInvalid(task, release, "this is no release id, as in r000042-1a2b3c4d5e6f")

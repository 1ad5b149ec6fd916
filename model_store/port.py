"""What a place for releases must offer: few operations, each atomic.

A backend keeps bytes and moves the head; it trusts its callers for the content, and its callers
trust nothing that it returns. Every operation may raise `StoreUnavailable`, after which it may or
may not have happened; each may be repeated with the same arguments without harm.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Publication:
    """A release on its way into a backend.

    Attributes
    ----------
    task, release, sequence
        Whose, which, and its place in the order of releases.
    manifest
        Its manifest as bytes.
    hashes
        The blobs that it names.
    expected_head
        The head that it may replace; None where the task has no release yet.
    keep
        How many of the newest releases of its kind stay, at least 1.
    rejected
        Whether it is of the kind that is kept and never becomes the head by being published.
    """

    task: str
    release: str
    sequence: int
    manifest: bytes
    hashes: frozenset[str]
    expected_head: str | None
    keep: int
    rejected: bool = False


class Subscription(Protocol):
    """Hints that the head of a task may have moved. A hint can be lost; it never blocks."""

    def changed(self) -> bool:
        """Say whether a hint came since the last call. Returns at once."""
        ...

    def close(self) -> None:
        """End the subscription; closing twice is allowed."""
        ...


class Backend(Protocol):
    """A place for blobs, manifests and heads, apart for each task."""

    def tasks(self) -> list[str]:
        """Return the tasks that have a head, sorted."""
        ...

    def head(self, task: str) -> str | None:
        """Return the id of the release in use, None where nothing was published."""
        ...

    def next_sequence(self, task: str) -> int:
        """Return a number greater than every one returned before for the task, from 1 on."""
        ...

    def manifest(self, task: str, release: str) -> bytes | None:
        """Return the manifest of a release, None where it is not there."""
        ...

    def manifests(self, task: str) -> Mapping[str, bytes]:
        """Return all manifests of the task by release id, in no order."""
        ...

    def blob_sizes(self, task: str, hashes: Collection[str]) -> dict[str, int]:
        """Return the sizes, in bytes, of those blobs that are there."""
        ...

    def get_blob(self, task: str, sha256: str) -> bytes | None:
        """Return a blob, None where it is not there."""
        ...

    def put_blob(self, task: str, sha256: str, blob: bytes) -> None:
        """Put a blob under its hash; until a release names it, any publication may remove it."""
        ...

    def publish(self, publication: Publication) -> frozenset[str]:
        """Make a release the head, in one step with all of the following.

        The head must be `expected_head` (or this be a repetition), and all its blobs must be
        there. Then the manifest is kept, the head moves, subscribers get a hint, the releases of
        its kind that are neither the head nor among the newest `keep` go, and so do the blobs that
        no remaining release names. Of a rejected release the head and subscribers learn nothing.

        Returns
        -------
        frozenset
            The hashes of the blobs that are not there, in which case nothing was done; empty
            when the release is in the store.

        Raises
        ------
        HeadConflict
            When the head is another; nothing was done.
        """
        ...

    def move_head(self, task: str, release: str) -> bool:
        """Make an existing release the head and give a hint; False where it does not exist."""
        ...

    def subscribe(self, task: str) -> Subscription:
        """Return hints for the head of the task, from now on."""
        ...

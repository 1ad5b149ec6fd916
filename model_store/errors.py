"""What can go wrong with the model store.

::

    StoreError
    ├── StoreMisconfigured   a setting that can never work: URL, namespace, missing extra
    ├── StoreUnavailable     the network or the server: trying again later may help
    ├── ReleaseNotFound      no such release, or no longer
    ├── BlobMissing          a manifest names a tensor whose bytes are gone
    ├── BlobCorrupt          bytes that are not what their hash says, or no tensor at all
    ├── ManifestInvalid      schema, malformed or path-like name, altered, of another task
    ├── TensorMismatch       dtype, shape, or weights that are not finite
    ├── ReleaseRejected      a rollback to a release that was not to become the head
    └── HeadConflict         the head moved while a release was being published

Every error holds its facts as attributes, and its message ends with what the operator can do.
Nothing here ever holds a password or the content of a tensor.
"""


class StoreError(Exception):
    """The root: catch this to go on with the release in hand whatever the store does.

    Parameters
    ----------
    problem
        What happened, a sentence with its full stop.
    action
        What the operator can do about it.
    """

    def __init__(self, problem: str, action: str) -> None:
        super().__init__(f"{problem} Operator action: {action}")


class StoreMisconfigured(StoreError):
    """A setting that can never work, whatever the state of the network."""


class StoreUnavailable(StoreError):
    """Redis could not be reached, refused the user, or failed to answer.

    Attributes
    ----------
    address
        Where Redis was looked for, without user and password.
    """

    def __init__(self, address: str, reason: str) -> None:
        self.address = address
        super().__init__(
            f"Redis at {address} is unavailable: {reason}.",
            "check that Redis runs, that this host may reach it, and the user's ACL.",
        )


class ReleaseNotFound(StoreError):
    """The release does not exist, or retention has removed it."""

    def __init__(self, task: str, release: str) -> None:
        self.task = task
        self.release = release
        super().__init__(
            f"Task {task!r} has no release {release!r}.",
            "list the releases of the task and choose one that is there.",
        )


class BlobMissing(StoreError):
    """A manifest names tensors whose bytes are not in the store."""

    def __init__(self, task: str, release: str, hashes: frozenset[str]) -> None:
        self.task = task
        self.release = release
        self.hashes = hashes
        super().__init__(
            f"Release {release!r} of task {task!r} lacks {len(hashes)} of its blobs "
            f"(sha256 {', '.join(sorted(hashes)[:3])}...).",
            "roll back to a release that loads, and check that Redis evicts no keys "
            "(maxmemory-policy noeviction).",
        )


class BlobCorrupt(StoreError):
    """Bytes that are not what their hash says, too many, or no encoded tensor at all."""

    def __init__(self, name: str, sha256: str, reason: str) -> None:
        self.name = name
        self.sha256 = sha256
        super().__init__(
            f"The blob of tensor {name!r} (sha256 {sha256}) is corrupt: {reason}.",
            "roll back to a release that loads, and find out who else writes to this Redis.",
        )


class ManifestInvalid(StoreError):
    """A manifest, or a name on its way into one, that must not be trusted."""

    def __init__(self, task: str, release: str | None, reason: str) -> None:
        self.task = task
        self.release = release
        super().__init__(
            f"The manifest of release {release!r} of task {task!r} is invalid: {reason}.",
            "if this was published here, correct it; if it was read, roll back to a release that "
            "loads and find out who else writes to this Redis.",
        )


class TensorMismatch(StoreError):
    """A tensor that is not what the release says, or holds weights that are not finite."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(
            f"Tensor {name!r} is refused: {reason}.",
            "keep the release in use; a release like this comes from training that diverged or "
            "from another version of the job.",
        )


class ReleaseRejected(StoreError):
    """A rollback to a release that was found wanting when it was made."""

    def __init__(self, task: str, release: str, reason: str) -> None:
        self.task = task
        self.release = release
        super().__init__(
            f"Release {release!r} of task {task!r} was rejected: {reason}.",
            "choose another release, or insist with `--rejected`.",
        )


class HeadConflict(StoreError):
    """Another publisher, or a rollback, moved the head first; nothing was published.

    Attributes
    ----------
    expected, actual
        The head that the publisher built on, and the head that is there; None is no release yet,
        or no longer: a Redis that lost its data.
    """

    def __init__(self, task: str, expected: str | None, actual: str | None) -> None:
        self.task = task
        self.expected = expected
        self.actual = actual
        super().__init__(
            f"The head of task {task!r} is {actual!r}, not {expected!r}.",
            "none after a rollback, the trainer adopts the new head; otherwise make sure that "
            "one job only trains this task.",
        )

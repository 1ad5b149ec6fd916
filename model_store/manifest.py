"""The manifest of a release: what it consists of, under an id that its own content proves."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from model_store.errors import ManifestInvalid
from model_store.names import NAME_RULE, is_name, is_tensor_name, release_sequence
from model_store.tensors import Array, TensorRef

SCHEMA_VERSION: Final = 1
MAX_MANIFEST_BYTES: Final = 1024 * 1024
MAX_TENSORS: Final = 2048
MAX_STATS: Final = 256
_MAX_STAT_CHARS: Final = 1000
_MAX_REASON_CHARS: Final = 1000
# What every reader of JSON can hold.
_INT64_MAX: Final = 2**63 - 1
_ID_HASH_DIGITS: Final = 12


def _name(text: str) -> str:
    if not is_name(text):
        msg = f"not a name ({NAME_RULE})"
        raise ValueError(msg)
    return text


def _tensor_name(text: str) -> str:
    if not is_tensor_name(text):
        msg = f"not a tensor name (parts joined by '/', each: {NAME_RULE})"
        raise ValueError(msg)
    return text


def _release_id(text: str) -> str:
    if release_sequence(text) is None:
        msg = "not a release id, as in r000042-1a2b3c4d5e6f"
        raise ValueError(msg)
    return text


Name: TypeAlias = Annotated[str, AfterValidator(_name)]
TensorName: TypeAlias = Annotated[str, AfterValidator(_tensor_name)]
ReleaseId: TypeAlias = Annotated[str, AfterValidator(_release_id)]
Stat: TypeAlias = (
    Annotated[float, Field(allow_inf_nan=False)]
    | Annotated[int, Field(ge=-_INT64_MAX, le=_INT64_MAX)]
    | Annotated[str, Field(max_length=_MAX_STAT_CHARS)]
)
StatValue: TypeAlias = float | int | str


class _Body(BaseModel):
    # All of a manifest but its id, which is computed from it.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1] = SCHEMA_VERSION
    task: Name
    parent: ReleaseId | None
    # Six digits at least and twelve at most in the id.
    sequence: Annotated[int, Field(ge=1, lt=10**12)]
    created: Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC))]
    tensors: Annotated[dict[TensorName, TensorRef], Field(min_length=1, max_length=MAX_TENSORS)]
    stats: Annotated[dict[Name, Stat], Field(max_length=MAX_STATS)]
    rejected: Annotated[str, Field(min_length=1, max_length=_MAX_REASON_CHARS)] | None = Field(
        default=None, exclude_if=lambda reason: reason is None
    )

    def identity(self) -> str:
        body = self.model_dump(mode="json", exclude={"release"})
        digest = hashlib.sha256(_canonical_json(body)).hexdigest()
        return f"r{self.sequence:06d}-{digest[:_ID_HASH_DIGITS]}"


class Manifest(_Body):
    """An immutable description of a release; an instance whose id does not fit cannot exist.

    Attributes
    ----------
    schema_version
        1. A reader refuses what it does not know.
    task
        The task that the release answers.
    release
        The id, as in ``r000042-1a2b3c4d5e6f``: the sequence number, then the first 12 hex digits
        of the sha256 of all the rest in canonical JSON.
    parent
        The head that it was published on; None for the first of a task.
    sequence
        Grows with every attempt to publish, never used twice in a task; gaps are normal.
    created
        UTC.
    tensors
        By name; the names mean nothing here.
    stats
        What the trainer wants to tell about the release: numbers and short texts.
    rejected
        Why the release was not to become the head; None, and left out, for all others.
    """

    release: ReleaseId

    @model_validator(mode="after")
    def _id_fits(self) -> Self:
        if self.release != self.identity():
            msg = "the id does not fit the content"
            raise ValueError(msg)
        return self

    def news(self) -> dict[str, StatValue]:
        """Return what there is to tell about the release, weights aside."""
        told: dict[str, StatValue] = {"release": self.release, "status": self.status, **self.stats}
        return told if self.rejected is None else told | {"reason": self.rejected}

    @property
    def status(self) -> Literal["promoted", "rejected"]:
        """What became of it when it was published."""
        return "promoted" if self.rejected is None else "rejected"

    @classmethod
    def seal(
        cls,
        *,
        task: str,
        parent: str | None,
        sequence: int,
        created: datetime,
        tensors: Mapping[str, TensorRef],
        stats: Mapping[str, StatValue],
        rejected: str | None = None,
    ) -> Self:
        """Return the manifest of this content, with its id computed.

        Raises
        ------
        ManifestInvalid
            On names, stats or sizes that a reader would refuse.
        """
        try:
            body = _Body(
                task=task,
                parent=parent,
                sequence=sequence,
                created=created,
                tensors=dict(tensors),
                stats=dict(stats),
                rejected=rejected,
            )
            manifest = cls(release=body.identity(), **dict(body))
        except ValidationError as error:
            raise ManifestInvalid(task, None, _summary(error)) from error
        if len(manifest.to_bytes()) > MAX_MANIFEST_BYTES:
            raise ManifestInvalid(task, manifest.release, f"more than {MAX_MANIFEST_BYTES} bytes")
        return manifest

    def to_bytes(self) -> bytes:
        """Return the manifest as canonical JSON."""
        return _canonical_json(self.model_dump(mode="json"))

    @classmethod
    def from_bytes(cls, data: bytes, *, task: str, release: str) -> Self:
        """Return the manifest in `data`, if it is that of `release` of `task`.

        Parameters
        ----------
        data
            Untrusted bytes.
        task, release
            What was asked for.

        Raises
        ------
        ManifestInvalid
            On anything that is not exactly the manifest asked for.
        """
        if len(data) > MAX_MANIFEST_BYTES:
            raise ManifestInvalid(task, release, f"more than {MAX_MANIFEST_BYTES} bytes")
        try:
            manifest = cls.model_validate_json(data)
        except ValidationError as error:
            raise ManifestInvalid(task, release, _summary(error)) from error
        if manifest.task != task:
            raise ManifestInvalid(task, release, f"it belongs to task {manifest.task!r}")
        if manifest.release != release:
            raise ManifestInvalid(task, release, f"it is that of release {manifest.release!r}")
        return manifest


@dataclass(frozen=True)
class Release:
    """A release in memory: its manifest, and a checked array for each of its tensors.

    The arrays are read-only and may be shared with other releases.
    """

    manifest: Manifest
    tensors: dict[str, Array]

    def by_hash(self) -> dict[str, Array]:
        """Return the arrays by sha256: what ``ModelStore.load`` takes as `known`."""
        return {self.manifest.tensors[name].sha256: array for name, array in self.tensors.items()}


def _canonical_json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _summary(error: ValidationError) -> str:
    # Never the input: it is untrusted, and may be a megabyte.
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))[:200]
    return f"{place or 'content'}: {first['msg'][:200]}"

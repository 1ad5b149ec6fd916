"""The records that travel through the cascade: frozen, typed, validated when they are decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Sequence
from enum import StrEnum
from typing import TypeVar

import msgspec


class Reason(StrEnum):
    """Why an event was sent to the expert, or why it was not."""

    WARMUP = "warmup"
    """The small levels have learned nothing that could be trusted yet."""
    JUMP = "jump"
    """DAgger's beta: sent at random to see the expert's demonstration (paper, Algorithm 1)."""
    POLICY = "policy"
    """The deferral policy asked for the expert."""
    AUDIT = "audit"
    """A random check of an answer that the policy had accepted."""
    ACCEPTED = "accepted"
    """The policy trusted a small level; no expert was asked."""
    PAID = "paid"
    """The policy sent nothing, but the expert's answer was there, paid before a failure."""
    BUDGET = "budget"
    """The policy would have asked, but nothing was left to spend."""


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One element of the stream.

    Parameters
    ----------
    id
        Unique name of the event; answers are remembered under it.
    key
        Whatever must stay in order together, such as the author; shards are cut by it.
    text
        The text to classify. Hostile by assumption.
    task
        Name of the classification task.
    time
        When the event happened, as the source wrote it (ISO 8601), or empty.
    recorded
        The expert's recorded answer, for the ``recorded`` kind of expert only.
    """

    id: str
    key: str
    text: str
    task: str
    time: str = ""
    recorded: str | None = None

    @property
    def call_id(self) -> str:
        """Name under which the call for it is paid and the answer remembered.

        Of its id and its text: a source that uses an id twice must not get one answer for two
        texts.
        """
        text = hashlib.sha256(self.text.encode()).hexdigest()[:16]
        return f"{self.id}:{text}"


class Opinion(msgspec.Struct, frozen=True):
    """A level's label probabilities for an event, in the order of the task's labels."""

    level: str
    probabilities: tuple[float, ...]


class Exposure(msgspec.Struct, frozen=True, array_like=True):
    """Accepted answers that an audit could have met: of one level, saying one label.

    Parameters
    ----------
    level
        Name of the small level that answered.
    answer
        The label, as an index into the task's labels.
    accepted
        How many there were.
    """

    level: str
    answer: int
    accepted: int


class Deferral(msgspec.Struct, frozen=True):
    """An event on its way to the expert, with all that a degraded answer would need.

    Parameters
    ----------
    opinions
        Opinions of the levels that were asked and had one, cheapest first.
    probabilities
        What the small levels say together; uniform if none was reached.
    level
        Name of the small level whose answer that is.
    propensity
        Probability with which this event was sent to the expert, in (0, 1]; that of an audit, or 0,
        if the answer was paid before.
    release
        The release that made the opinions, or None before the first one.
    exposed
        With an audit: what was accepted of its shard since the audit before, itself included.
    """

    event: Event
    opinions: tuple[Opinion, ...]
    probabilities: tuple[float, ...]
    level: str
    reason: Reason
    propensity: float
    release: str | None
    exposed: tuple[Exposure, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """What the expert said about one event: a label, or the kind of failure.

    Parameters
    ----------
    label
        One of the task's labels, or None.
    failure
        Why there is no label: an error kind such as ``timeout``; None with a label.
    calls
        Calls made for this answer, failed ones included.
    """

    label: str | None
    failure: str | None = None
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd_micros: int = 0
    latency_ms: float = 0.0

    @classmethod
    def remembered(cls, data: bytes, labels: Container[str]) -> Answer | None:
        """An answer that was kept as JSON; None if it is none with one of these labels."""
        try:
            answer = msgspec.json.decode(data, type=cls)
        except msgspec.DecodeError:
            return None
        return answer if answer.label in labels else None


class Verdict(msgspec.Struct, frozen=True):
    """A deferral together with the expert's answer to it."""

    deferral: Deferral
    answer: Answer


class Annotation(msgspec.Struct, frozen=True):
    """The expert's label for an event, and what the cascade would have said.

    Parameters
    ----------
    label
        The expert's label, as an index into the task's labels.
    answer
        What the small levels would have answered, as an index; None if none was reached.
    score
        Quadratic score of what they would have answered; None if no release made it.
    """

    event_id: str
    text: str
    label: int
    answer: int | None
    reason: Reason
    propensity: float
    score: float | None = None


class Audit(msgspec.Struct, frozen=True):
    """What the check of an accepted answer found.

    Parameters
    ----------
    event_id
        Of the event that was answered.
    level
        Name of the small level whose answer was accepted.
    answer
        That answer, as an index into the task's labels.
    agrees
        Whether the expert says the same. False if it said nothing: what is not confirmed must
        not count as right.
    propensity
        Probability with which it was audited, in (0, 1].
    exposed
        See `Deferral`.
    """

    event_id: str
    level: str
    answer: int
    agrees: bool
    propensity: float
    exposed: tuple[Exposure, ...]


class Lesson(msgspec.Struct, frozen=True):
    """What a chunk of verdicts teaches: annotations, audits, and how many verdicts it settles."""

    annotations: tuple[Annotation, ...]
    settled: int
    audits: tuple[Audit, ...] = ()


class Decision(msgspec.Struct, frozen=True):
    """The one answer that an event gets.

    Parameters
    ----------
    probabilities
        Label probabilities in the order of the task's labels; one-hot if the expert answered.
    level
        Name of the level that answered.
    release
        The release whose weights made, or led to, this decision; None before the first one.
    propensity
        Probability with which the event was sent to the expert, in [0, 1].
    cost_usd_micros
        Money spent on the expert for this event, in millionths of a US dollar.
    degraded
        True if the policy wanted the expert's answer and a small level's had to do.
    failure
        Why the expert gave no answer, if it was asked and failed.
    small_label
        What the small levels would have answered, where the expert did; None if none was asked.
    """

    id: str
    key: str
    task: str
    time: str
    label: str
    probabilities: tuple[float, ...]
    level: str
    release: str | None
    reason: Reason
    propensity: float
    cost_usd_micros: int = 0
    calls: int = 0
    degraded: bool = False
    failure: str | None = None
    small_label: str | None = None


class DeadLetter(msgspec.Struct, frozen=True):
    """An input that is no event, with the reason; ``raw`` is cut to a bounded length.

    Parameters
    ----------
    line
        Where it stands in its source: a line, an offset, or the id of a stream's entry.
    """

    source: str
    line: int | str
    error: str
    raw: str


T = TypeVar("T", bound=msgspec.Struct)


def pack(records: Sequence[msgspec.Struct]) -> bytes:
    """Encode a chunk of records for the wire (MessagePack)."""
    return msgspec.msgpack.encode(records)


def unpack(data: bytes, kind: type[T]) -> list[T]:
    """Decode a chunk of records, validating every field.

    Raises
    ------
    msgspec.DecodeError
        If the bytes are not a list of such records.
    """
    return msgspec.msgpack.decode(data, type=list[kind])  # type: ignore[valid-type]  # a runtime type


def to_json_lines(records: Sequence[msgspec.Struct]) -> str:
    """Write records as JSON lines, without the last newline."""
    return b"\n".join(msgspec.json.encode(record) for record in records).decode()

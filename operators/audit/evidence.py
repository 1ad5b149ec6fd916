"""What the audits of a task have found, in all and in the latest window, by level and by label."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import msgspec

from operators.audit.bounds import fewest_disagreements, most_disagreements
from operators.records import Audit

Count = Annotated[int, msgspec.Meta(ge=0)]
Chance = Annotated[float, msgspec.Meta(gt=0, le=1)]

EVERYTHING = "all"
"""Name of the group of all accepted answers."""


def level_group(level: str) -> str:
    """Name of the group of a level's accepted answers."""
    return f"level.{level}"


def label_group(label: int) -> str:
    """Name of the group of the accepted answers that say this label, by its index."""
    return f"label.{label}"


class Tally(msgspec.Struct):
    """Counts over a stretch of the stream.

    Parameters
    ----------
    accepted
        Answers of small levels that an audit could have met, those that one met included.
    audited
        Answers that an audit has met.
    disagreeing
        Audited answers that the expert did not confirm, by the probability with which each was
        audited; an expert who says nothing confirms nothing.
    """

    accepted: Count = 0
    audited: Count = 0
    disagreeing: dict[Chance, Count] = {}

    def count(self, propensity: float, *, agrees: bool) -> None:
        """Take in what an audit has found."""
        self.audited += 1
        if not agrees:
            self.disagreeing[propensity] = self.disagreeing.get(propensity, 0) + 1


class Trail(msgspec.Struct):
    """The counts of one group: since the beginning, in the window under way, in the one before."""

    life: Tally = msgspec.field(default_factory=Tally)
    current: Tally = msgspec.field(default_factory=Tally)
    last: Tally | None = None


class State(msgspec.Struct):
    """Everything an `Evidence` knows.

    Parameters
    ----------
    least
        Probability that no audit was below while all of it was gathered.
    """

    least: Chance
    trails: dict[str, Trail] = {}


@dataclass(frozen=True)
class Agreement:
    """What is known of the share of accepted answers that the expert confirms, or would.

    Parameters
    ----------
    accepted, audited, disagreeing
        See `Tally`.
    estimate
        That share, each disagreement that was found standing for the inverse of its probability
        (Horvitz and Thompson 1952): without bias, but that it is never below 0. None before the
        first audit.
    lower, upper
        Bounds; each holds at all moments together with the stated confidence.
    """

    accepted: int
    audited: int
    disagreeing: int
    estimate: float | None
    lower: float
    upper: float


def infer(tally: Tally, least: float, confidence: float) -> Agreement:
    """What counts prove.

    Parameters
    ----------
    least
        Probability with which each accepted answer was audited at the least, in (0, 1].
    confidence
        Of each of the two bounds, in (0, 1).
    """
    alpha, accepted, found = 1 - confidence, max(1, tally.accepted), tally.disagreeing
    most = min(tally.accepted, most_disagreements(found, least, alpha))
    fewest = min(tally.accepted, fewest_disagreements(found, least, alpha))
    likely = sum(number / propensity for propensity, number in found.items())
    return Agreement(
        tally.accepted,
        tally.audited,
        sum(found.values()),
        estimate=max(0.0, 1 - likely / accepted) if tally.audited else None,
        lower=1 - most / accepted if tally.accepted else 0.0,
        upper=1 - fewest / accepted,
    )


class Evidence:
    """Takes in audits, and says what they prove.

    Parameters
    ----------
    least
        Probability, in (0, 1], with which each accepted answer is audited at the least.
    confidence
        Of each bound, in (0, 1).
    window
        Accepted answers in a window.
    steers
        Whether a policy goes by the number of disagreements alone: then all are of one probability.
    """

    def __init__(
        self, least: float, confidence: float, window: int, *, steers: bool = False
    ) -> None:
        self._steers = steers
        self._confidence = confidence
        self._window = window
        self._state = State(least)

    def take(self, audits: Iterable[Audit]) -> None:
        """Count audits that have met their expert, in the order in which they did."""
        for audit in audits:
            for part in audit.exposed:
                for trail in self._of(part.level, part.answer):
                    trail.life.accepted += part.accepted
                    trail.current.accepted += part.accepted
            for trail in self._of(audit.level, audit.answer):
                for tally in (trail.life, trail.current):
                    tally.count(audit.propensity, agrees=audit.agrees)
            self._roll()

    def _of(self, level: str, answer: int) -> list[Trail]:
        names = (EVERYTHING, level_group(level), label_group(answer))
        return [self._state.trails.setdefault(name, Trail()) for name in names]

    def _roll(self) -> None:
        """Begin a new window, for all groups at once, when the one under way is full."""
        if self._state.trails[EVERYTHING].current.accepted >= self._window:
            for trail in self._state.trails.values():
                trail.last, trail.current = trail.current, Tally()

    @property
    def groups(self) -> list[str]:
        """Names of the groups that an accepted answer fell into so far."""
        return list(self._state.trails)

    @property
    def disagreeing(self) -> int:
        """Disagreements found among all accepted answers since the beginning."""
        return self.total(EVERYTHING).disagreeing

    def total(self, group: str) -> Agreement:
        """Agreement since the beginning."""
        return self._infer(self._state.trails.get(group, Trail()).life)

    def recent(self, group: str) -> Agreement:
        """Agreement in the latest full window; before there is one, in the first one so far.

        Drift shows here. The confidence holds for each window, over all its moments.
        """
        trail = self._state.trails.get(group, Trail())
        return self._infer(trail.last or trail.current)

    def _infer(self, tally: Tally) -> Agreement:
        return infer(tally, self._state.least, self._confidence)

    def snapshot(self) -> bytes:
        """Everything that was counted."""
        return msgspec.json.encode(self._state)

    def restore(self, snapshot: bytes) -> None:
        """Go on from what `snapshot` counted; begin anew if audits may now be rarer than any then.

        Raises
        ------
        msgspec.DecodeError
            If these are no such counts.
        ValueError
            If a policy goes by them, and audits had another probability.
        """
        state = msgspec.json.decode(snapshot, type=State)
        for trail in state.trails.values():
            for tally in (trail.life, trail.current, trail.last or Tally()):
                if tally.disagreeing and min(tally.disagreeing) < state.least:
                    message = f"audits of {dict(tally.disagreeing)} are below {state.least}"
                    raise msgspec.ValidationError(message)
        if not state.trails:
            return
        if self._steers and state.least != self._state.least:
            message = (
                f"accepted answers were audited in {state.least:g} of the cases and are to be in "
                f"{self._state.least:g}: what was found proves nothing of the target_agreement "
                f"then; go on with `policy: {{kind: budgeted, audit: {state.least:g}}}`, or begin "
                "anew, without the savepoint"
            )
            raise ValueError(message)
        self._state = state if state.least <= self._state.least else State(self._state.least)

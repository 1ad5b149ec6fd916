"""The cascade: decides chunks of events with the small levels, defers the rest to the expert."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import numpy.typing as npt

from model_store.errors import StoreError
from model_store.ledger import Ledger, Usage
from model_store.manifest import Release
from operators.audit.exposed import Exposed
from operators.core.paid import PaidAnswers
from operators.levels.asking import ask
from operators.levels.port import Level, Probabilities, under
from operators.policy.port import PREFIX, Policy, Routing, Rows
from operators.records import Decision, Deferral, Event, Exposure, Opinion, Reason
from operators.settings import TaskSettings

STATE_VERSION = 2
_NOTHING = Usage(seen=0, deferred=0, settled=0, reserved=0)


class ShardState(msgspec.Struct, frozen=True):
    """What a shard's keyed state holds between two chunks.

    Parameters
    ----------
    scores
        Latest deferral scores.
    exposed
        What was accepted since the latest audit.
    """

    version: int = STATE_VERSION
    seen: int = 0
    deferred: int = 0
    scores: list[float] = []
    exposed: tuple[Exposure, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a chunk: each event is in exactly one of the two."""

    decisions: list[Decision]
    deferrals: list[Deferral]


@dataclass(frozen=True)
class Staged:
    """A release that was checked against a cascade and made ready for it."""

    release: str
    created_unix_s: float
    levels: Sequence[object]
    policy: object


class _Asked:
    """The chunk as a policy sees it: levels are evaluated on the rows it asks about, no others."""

    def __init__(
        self,
        events: Sequence[Event],
        levels: Sequence[Level],
        labels: int,
        trained: bool,
        no_opinion: Counter[str],
    ) -> None:
        self.ids = [event.id for event in events]
        self.levels = len(levels)
        self.labels = labels
        self.trained = trained
        self.reached = np.zeros((len(levels), len(events)), np.bool_)
        self.opinions = np.zeros((len(levels), len(events), labels))
        self._texts = [event.text for event in events]
        self._ask = levels
        self._no_opinion = no_opinion

    def ask(self, level: int, rows: Rows) -> Probabilities:
        """Evaluate a level on these rows; it counts as reached where it has an opinion."""
        asked = self._ask[level]
        opinions = ask(asked.name, asked.predict, [self._texts[row] for row in rows])
        self.reached[level, rows] = opinions.given
        self.opinions[level, rows] = opinions.probabilities
        self._no_opinion[asked.name] += opinions.missing
        return opinions.probabilities


class Cascade:
    """Decides what it can and defers the rest.

    Parameters
    ----------
    levels
        The small levels, cheapest first; the expert is not among them.
    policy
        Which events go on to the expert.
    ledger
        Where this cascade reports how far it is, and learns what all of them have spent.

    Notes
    -----
    One object serves all shards of a subtask. What must survive a failure is `snapshot`, by
    shard; the release and the ledger's counts are fetched anew.
    """

    def __init__(
        self, task: TaskSettings, levels: Sequence[Level], policy: Policy, ledger: Ledger
    ) -> None:
        self._task = task
        self._levels = levels
        self._policy = policy
        self._ledger = ledger
        self._paid = PaidAnswers(ledger, task.labels)
        self._release: str | None = None
        self._usage: Usage | None = None
        self._shards: dict[str, ShardState] = {}
        self.ledger_error: StoreError | None = None
        """Why the last report to the ledger failed, if it did."""
        self.release_created_unix_s = 0.0
        """When the release that decides now was made; 0 before the first."""
        self.no_opinion = Counter[str]()
        """Events on whose text a level failed, by its name."""

    @property
    def release(self) -> str | None:
        """The release that decides now."""
        return self._release

    @property
    def on_gpu(self) -> dict[str, bool]:
        """Which of the small levels run on a GPU, by name."""
        return {level.name: level.on_gpu for level in self._levels}

    @property
    def usage(self) -> Usage:
        """The counts of the whole run, as of the last chunk."""
        return self._usage or _NOTHING

    def load(self, release: Release) -> None:
        """Serve a release from the next chunk on: all of it, or none if any part does not fit.

        Raises
        ------
        model_store.errors.TensorMismatch
            If the release was made for other levels; the one in use stays.
        """
        self.swap(self.stage(release))

    def stage(self, release: Release) -> Staged:
        """Make a release ready to be swapped in; touches nothing that serves.

        May run in another thread than the one that decides.

        Raises
        ------
        model_store.errors.TensorMismatch
            If the release was made for other levels.
        """
        return Staged(
            release.manifest.release,
            release.manifest.created.timestamp(),
            [level.stage(under(level.name, release.tensors)) for level in self._levels],
            self._policy.stage(under(PREFIX, release.tensors)),
        )

    def swap(self, staged: Staged) -> None:
        """Serve what `stage` returned from the next chunk on."""
        for level, weights in zip(self._levels, staged.levels, strict=True):
            level.swap(weights)
        self._policy.swap(staged.policy)
        self._release = staged.release
        self.release_created_unix_s = staged.created_unix_s

    def knows(self, shard: str) -> bool:
        """Whether this object has met the shard since it was made."""
        return shard in self._shards

    def restore(self, shard: str, state: bytes | None) -> None:
        """Take up a shard where `snapshot` left it; None starts afresh.

        Raises
        ------
        msgspec.DecodeError
            If the bytes are no state of a shard.
        ValueError
            If they were written by a version with another layout.
        """
        restored = msgspec.msgpack.decode(state, type=ShardState) if state else ShardState()
        if restored.version != STATE_VERSION:
            message = (
                f"state of shard {shard!r} has version {restored.version}, not {STATE_VERSION}: "
                "restore it with the release of this software that wrote it"
            )
            raise ValueError(message)
        self._shards[shard] = restored
        if state:
            self._paid.look_for(shard)
            self._policy.recall(restored.scores)

    def snapshot(self, shard: str) -> bytes:
        """State of a shard after its last chunk."""
        return msgspec.msgpack.encode(self._shards[shard])

    def decide(self, shard: str, events: Sequence[Event]) -> Outcome:
        """Decide or defer every event of a chunk.

        The texts of the events reach nothing but the levels; nothing here waits for the expert.
        """
        if not self.knows(shard):
            self.restore(shard, None)
        labels, trained = len(self._task.labels), self._release is not None
        asked = _Asked(events, self._levels, labels, trained, self.no_opinion)
        routing = self._policy.route(asked, self._current_usage())
        before = self._shards[shard]
        exposed = Exposed(before.exposed)
        paid = self._paid.among(shard, events)
        outcome = self._outcome(events, asked, routing, paid, exposed)
        self._shards[shard] = ShardState(
            seen=before.seen + len(events),
            deferred=before.deferred + len(outcome.deferrals),
            scores=self._policy.recent(),
            exposed=exposed.so_far(),
        )
        self._report(shard, len(events), len(outcome.deferrals))
        return outcome

    def _outcome(
        self,
        events: Sequence[Event],
        asked: _Asked,
        routing: Routing,
        paid: npt.NDArray[np.bool_],
        exposed: Exposed,
    ) -> Outcome:
        decisions, deferrals = [], []
        best = routing.probabilities.argmax(axis=1)
        for row, event in enumerate(events):
            probabilities = _rounded(routing.probabilities[row])
            propensity = float(routing.propensity[row])
            level, reason = self._levels[routing.level[row]].name, routing.reasons[row]
            if reason in (Reason.ACCEPTED, Reason.AUDIT) and propensity > 0:
                exposed.add(level, int(best[row]))
            if paid[row] and not routing.sent[row]:
                # If it was accepted, audits could have met it all the same: they prove that.
                propensity = propensity if reason == Reason.ACCEPTED else 0.0
                reason = Reason.PAID
            if routing.sent[row] or reason == Reason.PAID:
                opinions = tuple(
                    Opinion(level.name, _rounded(asked.opinions[i, row]))
                    for i, level in enumerate(self._levels)
                    if asked.reached[i, row]
                )
                deferrals.append(
                    Deferral(
                        event,
                        opinions,
                        probabilities,
                        level,
                        reason,
                        propensity,
                        self._release,
                        exposed.hand_over() if reason == Reason.AUDIT else (),
                    )
                )
                continue
            decisions.append(
                Decision(
                    id=event.id,
                    key=event.key,
                    task=event.task,
                    time=event.time,
                    label=self._task.labels[best[row]],
                    probabilities=probabilities,
                    level=level,
                    release=self._release,
                    reason=reason,
                    propensity=propensity,
                    degraded=bool(routing.degraded[row]),
                )
            )
        return Outcome(decisions, deferrals)

    def _current_usage(self) -> Usage:
        if self._usage is None:
            try:
                self._usage = self._ledger.usage()
            except StoreError as error:
                self.ledger_error = error
                return _NOTHING
        return self._usage

    def _report(self, shard: str, seen: int, deferred: int) -> None:
        """Tell the ledger; without one, go on by the own count: an estimate, and never too low."""
        state = self._shards[shard]
        try:
            self._usage = self._ledger.progress(shard, seen=state.seen, deferred=state.deferred)
            self.ledger_error = None
        except StoreError as error:
            self.ledger_error = error
            last = self.usage
            self._usage = replace(last, seen=last.seen + seen, deferred=last.deferred + deferred)


_DIGITS = 6  # of a published probability: finer differences are noise, and only make bytes


def _rounded(probabilities: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(p), _DIGITS) for p in probabilities)

"""The paper's policy, serving half: Algorithm 1, level by level, with learned deferral functions.

The text of the paper and the code of its authors differ; each difference is an option of
`PaperSettings`, and both ways run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from model_store.ledger import Usage
from operators.budget import Plan
from operators.coins import coins
from operators.levels.port import Probabilities, Tensors, expect
from operators.policy.deferral_mlp import forward, published_parameters
from operators.policy.port import Chunk, Routing, Rows, everything
from operators.policy.threshold import highest
from operators.records import Reason
from operators.settings import GateSettings, PaperSettings

Flags = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
_DEFER_ABOVE = 0.5  # Section 3: defer if f(m(x)) > 0.5


def gates_for(settings: PaperSettings, levels: int) -> Sequence[GateSettings]:
    """One gate for each small level; a single one serves all.

    Raises
    ------
    ValueError
        If there are neither one nor as many gates as small levels.
    """
    if len(settings.gates) not in (1, levels):
        message = f"policy.gates must hold one entry, or one for each of the {levels} small levels"
        raise ValueError(message)
    return settings.gates * (levels if len(settings.gates) == 1 else 1)


@dataclass(frozen=True)
class _Weights:
    parameters: Sequence[FloatArray]  # of each level's deferral function
    updates: npt.NDArray[np.int64]  # of each level


class PaperPolicy:
    """Serving half of the paper's policy.

    Parameters
    ----------
    levels, labels
        Numbers of small levels and of labels.
    plan
        A hard cap if there is a budget; the policy itself knows only `mu`.
    seed
        Of the jumps.
    """

    def __init__(
        self, settings: PaperSettings, levels: int, labels: int, plan: Plan, seed: int
    ) -> None:
        self._settings = settings
        self._gates = gates_for(settings, levels)
        self._labels = labels
        self._plan = plan
        self._seed = seed
        self._weights: _Weights | None = None

    def stage(self, tensors: Tensors) -> object:
        """Check a release's ``updates`` (levels,) and ``deferral.<i>`` parameter vectors.

        Raises
        ------
        model_store.errors.TensorMismatch
            If one is missing or has another shape.
        """
        levels, hidden = len(self._gates), self._settings.hidden
        return _Weights(
            [
                published_parameters(tensors, f"deferral.{i}", self._labels, hidden)
                for i in range(levels)
            ],
            expect(tensors, "updates", np.int64, (levels,)),
        )

    def swap(self, staged: object) -> None:
        """Serve what `stage` returned from now on."""
        assert isinstance(staged, _Weights)
        self._weights = staged

    def recent(self) -> list[float]:
        """Nothing: this policy keeps no scores."""
        return []

    def recall(self, scores: Sequence[float]) -> None:
        """Nothing: this policy keeps no scores."""

    def route(self, chunk: Chunk, usage: Usage) -> Routing:
        """Walk each event through the levels of Algorithm 1."""
        rows = everything(chunk)
        # The cheapest level is asked even about an event that jumps: its opinion is what goes
        # out if the expert gives no answer.
        probabilities = chunk.ask(0, rows).copy()
        walk = self._walk(chunk, probabilities) if self._ready() else _warmup(len(rows))
        self._plan.look(usage, len(rows))
        left = self._plan.left(usage, len(rows))
        sent = highest(1 - probabilities.max(axis=1), walk.sent, left)
        refused = walk.sent & ~sent
        return Routing(
            probabilities,
            walk.level,
            sent,
            [Reason.BUDGET if no else why for no, why in zip(refused, walk.reasons, strict=True)],
            np.where(refused | (left == 0), 0.0, walk.propensity),
            degraded=refused,
        )

    def _ready(self) -> bool:
        weights = self._weights
        return weights is not None and int(weights.updates.min()) >= self._settings.warmup_updates

    def _walk(self, chunk: Chunk, probabilities: Probabilities) -> _Walk:
        """Algorithm 1 for each event; `probabilities` becomes that of the last level reached."""
        assert self._weights is not None
        walk = _Walk.start(len(chunk.ids))
        arrival = np.ones(len(chunk.ids))  # probability of the turns that an event took so far
        active = everything(chunk)
        for i, gate in enumerate(self._gates):
            beta = gate.decay ** float(self._weights.updates[i])
            jumped = coins(self._seed, f"jump/{i}", [chunk.ids[r] for r in active]) < beta
            leaping, staying = active[jumped], active[~jumped]
            if self._settings.jump == "expert" or i == len(self._gates) - 1:
                walk.propensity[active] += arrival[active] * beta
                walk.send(leaping, Reason.JUMP)
                leaping = leaping[:0]
            arrival[leaping] *= beta
            opinion = probabilities[staying] if i == 0 else chunk.ask(i, staying)
            probabilities[staying], walk.level[staying] = opinion, i
            defer, chance = self._defer(i, opinion, [chunk.ids[r] for r in staying])
            arrival[staying] *= (1 - beta) * chance
            active = np.sort(np.concatenate([leaping, staying[defer]]))
        walk.propensity[active] += arrival[active]
        walk.send(active, Reason.POLICY)
        return walk

    def _defer(
        self, level: int, opinion: Probabilities, ids: Sequence[str]
    ) -> tuple[Flags, FloatArray]:
        """Whether each event is deferred, and with which probability that happened."""
        assert self._weights is not None
        hidden = self._settings.hidden
        value, _ = forward(self._weights.parameters[level], self._labels, hidden, opinion)
        if self._settings.action == "sample":
            return coins(self._seed, f"action/{level}", ids) < value, value
        defer = value > _DEFER_ABOVE
        return defer, defer.astype(np.float64)


@dataclass
class _Walk:
    """Where the events of a chunk went.

    A propensity is a lower bound where the vote of a level that was not reached would have to be
    known: after a jump, and for an event that a sampled action or a leap might have sent on.
    """

    level: Rows
    sent: Flags
    reasons: list[Reason]
    propensity: FloatArray

    @classmethod
    def start(cls, events: int) -> Self:
        return cls(
            np.zeros(events, np.intp),
            np.zeros(events, np.bool_),
            [Reason.ACCEPTED] * events,
            np.zeros(events),
        )

    def send(self, rows: Rows, reason: Reason) -> None:
        self.sent[rows] = True
        for row in rows:
            self.reasons[row] = reason


def _warmup(events: int) -> _Walk:
    walk = _Walk.start(events)
    walk.send(np.arange(events), Reason.WARMUP)
    walk.propensity[:] = 1.0
    return walk

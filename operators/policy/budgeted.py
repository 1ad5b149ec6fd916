"""The default policy: a confidence gate whose threshold spends exactly what the budget allows.

Events are ranked by how unsure the small levels are together; the threshold is the quantile of the
latest scores that meets the spending plan, so there is no weight to tune and no cliff to fall off.
Without a budget, it is the score up to which answers can be accepted and the agreement aimed at.
A small random share of the accepted answers is audited: the only honest source of agreement.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.ledger import Usage
from operators.audit.chances import AuditChances
from operators.budget import Plan
from operators.coins import coins
from operators.levels.port import Probabilities, Tensors, expect
from operators.policy import calibration, ensemble, exits
from operators.policy.port import Chunk, Routing, Rows, everything
from operators.policy.target import AgreementTarget, threshold_for
from operators.policy.threshold import ScoreWindow, highest
from operators.records import Reason
from operators.settings import BudgetedSettings

_KEPT_SCORES = 64  # scores that each shard's state remembers, to refill the window after a restore
_SALT_BYTES = 16
_TIE_BREAK = 1e-9  # equal scores are ordered by chance, so that a quantile splits them


@dataclass(frozen=True)
class _Weights:
    ensemble: npt.NDArray[np.float64]
    gates: npt.NDArray[np.float64]
    trust: npt.NDArray[np.float64]


class BudgetedPolicy:
    """Serving half of the budgeted confidence gate.

    Parameters
    ----------
    levels
        Number of small levels.
    plan
        What may be spent, and when.
    seed
        Of the audits.
    audits
        With which probabilities accepted answers are audited.
    target
        The agreement to aim at where no budget is to be spent.
    """

    def __init__(
        self,
        settings: BudgetedSettings,
        levels: int,
        plan: Plan,
        seed: int,
        audits: AuditChances,
        target: AgreementTarget | None = None,
    ) -> None:
        self._settings = settings
        self._levels = levels
        self._plan = plan
        self._seed = seed
        self._audits = audits
        self._target = target
        self._window = ScoreWindow(settings.window)
        self._coins = "audit"
        self._threshold = np.inf
        self._weights = _Weights(ensemble.first(levels), exits.first(levels), calibration.FIRST)

    def stage(self, tensors: Tensors) -> object:
        """Check a release's ensemble weights, exit gates and trust; see `BudgetedLearner.tensors`.

        Raises
        ------
        model_store.errors.TensorMismatch
            If one is missing or has another shape.
        """
        return _published(tensors, self._levels)

    def swap(self, staged: object) -> None:
        """Serve what `stage` returned from now on."""
        assert isinstance(staged, _Weights)
        self._weights = staged

    def recent(self) -> list[float]:
        """The latest deferral scores."""
        return self._window.latest(_KEPT_SCORES)

    def recall(self, scores: Sequence[float]) -> None:
        """Take up scores that a shard's state remembers.

        From now on audits are drawn by new coins: what is decided again after a failure meets
        levels that may have learned what the coins before it have shown.
        """
        self._window.extend(scores)
        self._coins = f"audit/{secrets.token_hex(_SALT_BYTES)}"

    def route(self, chunk: Chunk, usage: Usage) -> Routing:
        """Send the events of which the small levels are least sure, as many as the plan allows."""
        self._plan.look(usage, len(chunk.ids))
        coin = coins(self._seed, self._coins, chunk.ids)
        # An answer that leaves early is in no doubt; if it is audited, the later levels learn too.
        probabilities, level, doubt = self._consult(chunk, coin < self._audits.least)
        tie = coins(self._seed, "tie", chunk.ids)
        score = doubt + _TIE_BREAK * tie
        if not chunk.trained:
            return self._warm_up(probabilities, level, score, usage)
        self._window.extend(score.tolist())
        left = self._plan.left(usage, len(score))
        threshold = self._aim(usage, chunk.labels)
        if threshold < np.inf:
            self._threshold = threshold
        bar = self._threshold if left == 0 else threshold
        wanted = score >= bar
        scores = self._window.scores()
        chance = self._audits.of(doubt, scores[scores < bar], tie)
        drawn = (coin < chance) & ~wanted
        # Whether an answer can be audited may depend on the coins before its own, not on its own.
        open_to_audit = ~wanted & (drawn.cumsum() - drawn < (len(score) if left is None else left))
        checked = drawn & open_to_audit
        spare = None if left is None else left - int(checked.sum())
        asked = highest(score, wanted, spare)
        reasons = [
            Reason.POLICY if a else Reason.AUDIT if c else Reason.BUDGET if w else Reason.ACCEPTED
            for a, c, w in zip(asked, checked, wanted, strict=True)
        ]
        return Routing(
            probabilities,
            level,
            sent=asked | checked,
            reasons=reasons,
            propensity=np.where(asked, 1.0, np.where(open_to_audit, chance, 0.0)),
            degraded=wanted & ~asked,
        )

    def _aim(self, usage: Usage, labels: int) -> float:
        """The score from which on events are to be sent."""
        if self._target is not None:
            scores = self._window.scores()
            risks = calibration.risk(self._weights.trust, scores)
            return threshold_for(scores, risks, self._target.allowance(usage))
        # Audits take their part of the plan first: what is reported as agreement rests on them.
        audit, horizon = self._audits.mean, self._settings.horizon
        due, early = (
            self._window.threshold((rate - audit) / (1 - audit))
            for rate in (self._plan.rate(usage, horizon), self._plan.early_rate(usage, horizon))
        )
        # What is learned early pays to the end, but only a real doubt promises something to learn:
        # the budget of a stream whose labels have yet to come is not gone on what is sure already.
        doubt = self._settings.early_doubt
        return min(due, max(early, doubt * (1 - 1 / labels))) if doubt < 1 else due

    def _warm_up(
        self,
        probabilities: Probabilities,
        level: Rows,
        score: npt.NDArray[np.float64],
        usage: Usage,
    ) -> Routing:
        """Send all that may be sent: an answer of levels that know nothing is a degraded one.

        Once the warm-up's part of the budget is gone and nothing was learned from it, for want of
        usable answers, as many go on as the plan allows anyhow.
        """
        left = self._plan.left(usage, len(score))
        most = self._plan.left_to_warm_up(usage, len(score))
        if left is not None and most is not None:
            rate = self._plan.rate(usage, self._settings.horizon)
            most = min(left, max(most, math.ceil(rate * len(score))))
        sent = highest(score, np.ones(len(score), np.bool_), most)
        return Routing(
            probabilities,
            level,
            sent,
            [Reason.WARMUP if s else Reason.BUDGET for s in sent],
            # Ties are broken by chance: each had the same.
            np.full(len(sent), sent.sum() / max(1, len(sent))),
            degraded=~sent,
        )

    def _consult(
        self, chunk: Chunk, audited: npt.NDArray[np.bool_]
    ) -> tuple[Probabilities, Rows, npt.NDArray[np.float64]]:
        """Ask level by level until a gate lets the answer out; an audited event asks them all."""
        events = len(chunk.ids)
        logits = np.zeros((events, chunk.labels))
        level = np.full(events, self._levels - 1)
        out = np.zeros(events, np.bool_)
        probabilities = np.full((events, chunk.labels), 1 / chunk.labels)
        active = everything(chunk)
        for i in range(self._levels):
            opinion = chunk.ask(i, active)
            logits[active] += self._weights.ensemble[i] * ensemble.log_opinion(opinion)
            undecided = active[~out[active]]
            scale = ensemble.scale(self._weights.ensemble, i + 1)
            probabilities[undecided] = ensemble.normalise(scale * logits[undecided])
            if i < self._levels - 1 and chunk.trained:
                # An event that the budget could still send to the expert does not leave before.
                limit = min(self._settings.exit_risk, self._threshold)
                disagrees = calibration.risk(self._weights.gates[i], calibration.doubt(opinion))
                safe = disagrees <= limit
                leaving = active[safe & ~out[active]]
                level[leaving], out[leaving] = i, True
                active = active[~out[active] | audited[active]]
        return probabilities, level, np.where(out, 0.0, calibration.doubt(probabilities))


class BudgetedLearner:
    """Learning half: the ensemble's weights, the exit gates, and how far to trust the answers.

    Parameters
    ----------
    weights
        Of the ensemble before learning; None takes those of `ensemble.first`.
    """

    def __init__(
        self, settings: BudgetedSettings, levels: int, weights: ensemble.Weights | None = None
    ) -> None:
        self._settings = settings
        self._ensemble = ensemble.first(levels) if weights is None else weights
        self._gates = exits.first(levels)
        self._squares = np.zeros_like(self._gates)
        self._trust = calibration.FIRST.copy()
        self._trust_squares = np.zeros_like(self._trust)

    def learn(
        self,
        opinions: Sequence[Probabilities],
        labels: npt.NDArray[np.intp],
        propensity: npt.NDArray[np.float64],
    ) -> None:
        """Move ensemble and trust towards the expert, and the gates towards the ensemble."""
        together = self.together(opinions)
        wrong = together.argmax(axis=-1) != labels
        calibration.step(
            self._trust, self._trust_squares, calibration.doubt(together), wrong, propensity
        )
        exits.improve(self._gates, self._squares, opinions, together, propensity)
        self._ensemble = ensemble.improve(
            self._ensemble, opinions, labels, self._settings.ensemble_rate
        )

    def together(self, opinions: Sequence[Probabilities]) -> Probabilities:
        """Their opinions, averaged."""
        return ensemble.combine(opinions, self._ensemble)

    def tensors(self, updates: Sequence[int]) -> dict[str, npt.NDArray[Any]]:
        """``ensemble`` (levels,), ``gates`` (levels - 1, 2) and ``trust`` (2,), float32."""
        return {
            "ensemble": self._ensemble.astype(np.float32),
            "gates": self._gates.astype(np.float32),
            "trust": self._trust.astype(np.float32),
        }

    def adopt(self, tensors: Tensors) -> None:
        """Go on from published weights."""
        weights = _published(tensors, len(self._ensemble))
        self._ensemble, self._gates, self._trust = weights.ensemble, weights.gates, weights.trust
        self._squares = np.zeros_like(self._gates)
        self._trust_squares = np.zeros_like(self._trust)

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Weights and accumulators."""
        return {
            "ensemble": self._ensemble.copy(),
            "gates": self._gates.copy(),
            "squares": self._squares.copy(),
            "trust": self._trust.copy(),
            "trust_squares": self._trust_squares.copy(),
        }

    def restore(self, snapshot: Tensors) -> None:
        """Become what `snapshot` described."""
        self._ensemble = np.array(snapshot["ensemble"])
        self._gates = np.array(snapshot["gates"])
        self._squares = np.array(snapshot["squares"])
        self._trust = np.array(snapshot["trust"])
        self._trust_squares = np.array(snapshot["trust_squares"])


def _published(tensors: Tensors, levels: int) -> _Weights:
    """Pick the policy's weights out of a release, insisting on their shapes."""
    return _Weights(
        expect(tensors, "ensemble", np.float32, (levels,)).astype(np.float64),
        expect(tensors, "gates", np.float32, (levels - 1, 2)).astype(np.float64),
        expect(tensors, "trust", np.float32, (2,)).astype(np.float64),
    )

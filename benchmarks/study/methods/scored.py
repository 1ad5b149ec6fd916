"""Uncertainty sampling under a budget: any score, on the product's levels and spending plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from benchmarks.study.methods.port import Scenario, Setup
from benchmarks.study.methods.scores import Score, by_chance
from model_store.ledger import Usage
from operators.budget import SpendingPlan
from operators.coins import coins
from operators.levels.port import Tensors, expect
from operators.policy import ensemble
from operators.policy.port import Chunk, Policy, Routing, everything
from operators.policy.threshold import ScoreWindow, highest
from operators.records import Reason
from operators.settings import BudgetedSettings, CascadeSettings

_TIE_BREAK = 1e-9
UNAUDITED = {"policy": {"kind": "budgeted", "audit": 0}}
"""What a baseline is asked to do: it audits nothing, and gathers no evidence."""


class ScoredPolicy:
    """Sends the events with the highest scores, as many as the plan allows; audits nothing.

    Every level is asked about every event, and the answer is theirs together, as in the product's
    policy: what differs from that one is the score alone.

    Parameters
    ----------
    score
        None defers by chance.
    """

    def __init__(
        self,
        score: Score | None,
        settings: BudgetedSettings,
        levels: int,
        plan: SpendingPlan,
        seed: int,
    ) -> None:
        self._score = score
        self._settings = settings
        self._levels = levels
        self._plan = plan
        self._seed = seed
        self._window = ScoreWindow(settings.window)
        self._weights = np.ones(levels)

    def stage(self, tensors: Tensors) -> object:
        """Check a release's ensemble weights (levels,)."""
        return expect(tensors, "ensemble", np.float32, (self._levels,)).astype(np.float64)

    def swap(self, staged: object) -> None:
        """Serve what `stage` returned from now on."""
        assert isinstance(staged, np.ndarray)
        self._weights = staged

    def recent(self) -> list[float]:
        """Nothing: a study restores no shard."""
        return []

    def recall(self, scores: Sequence[float]) -> None:
        """Take up nothing."""

    def route(self, chunk: Chunk, usage: Usage) -> Routing:
        """Send what the quantile of the latest scores lets pass."""
        opinions = np.stack([chunk.ask(i, everything(chunk)) for i in range(chunk.levels)])
        together = ensemble.combine(list(opinions), self._weights)
        if self._score is None:
            score = by_chance(self._seed, chunk.ids)
        else:
            score = self._score(opinions, together)
        score = score + _TIE_BREAK * coins(self._seed, "tie", chunk.ids)
        left = self._plan.left(usage, len(score))
        if chunk.trained:
            self._window.extend(score.tolist())
            rate = self._plan.rate(usage, self._settings.horizon)
            wanted = score >= self._window.threshold(rate)
        else:
            wanted = np.ones(len(score), np.bool_)
            left = self._plan.left_to_warm_up(usage, len(score))
        sent = highest(score, wanted, left)
        return routing(together, self._levels - 1, sent, Reason.POLICY)


def routing(
    probabilities: npt.NDArray[np.float64],
    level: int | npt.NDArray[np.intp],
    sent: npt.NDArray[np.bool_],
    reason: Reason,
    propensity: float | None = None,
) -> Routing:
    """Where events go if each that is not sent is answered, by one level or by its own."""
    return Routing(
        probabilities,
        np.broadcast_to(np.asarray(level, np.intp), sent.shape),
        sent,
        [reason if s else Reason.ACCEPTED for s in sent],
        sent.astype(np.float64) if propensity is None else np.full(len(sent), propensity),
        degraded=np.zeros(len(sent), np.bool_),
    )


def scored(score: Score | None) -> Callable[[Scenario, float], Setup]:
    """The set-up of uncertainty sampling with a score."""

    def policy(settings: CascadeSettings) -> Policy:
        assert isinstance(settings.policy, BudgetedSettings)
        plan = SpendingPlan(settings.budget)
        levels = len(settings.levels)
        return ScoredPolicy(score, settings.policy, levels, plan, settings.seed)

    def set_up(scenario: Scenario, _: float) -> Setup:
        return Setup(replace(scenario.parts, policy=policy), UNAUDITED)

    return set_up

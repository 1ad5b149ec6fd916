"""The paper's online ensemble learning: every model with a probability of its own, no deferral."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.study.methods.port import Scenario, Setup
from benchmarks.study.methods.scored import UNAUDITED, routing
from model_store.ledger import Usage
from operators.budget import SpendingPlan
from operators.coins import coins
from operators.levels.port import Probabilities, Tensors, expect
from operators.policy.ensemble import log_opinion
from operators.policy.port import Chunk, Policy, PolicyLearner, Routing, everything
from operators.policy.threshold import highest
from operators.records import Reason
from operators.settings import CascadeSettings

FloatArray = npt.NDArray[np.float64]


class EnsemblePolicy:
    """Answers each event by one model, drawn with its probability; the expert's is the budget's.

    Section 3 of the paper: a linear combination of the models with static probabilities that sum
    to 1, learned by online gradient descent, without deferral functions.
    """

    def __init__(self, levels: int, plan: SpendingPlan, share: float, seed: int) -> None:
        self._plan = plan
        self._share = share
        self._seed = seed
        self._weights = np.full(levels, 1 / levels)

    def stage(self, tensors: Tensors) -> object:
        """Check the probabilities of the small levels (levels,)."""
        shape = (len(self._weights),)
        return expect(tensors, "probabilities", np.float32, shape).astype(np.float64)

    def swap(self, staged: object) -> None:
        """Serve what `stage` returned from now on."""
        assert isinstance(staged, np.ndarray)
        self._weights = staged

    def recent(self) -> list[float]:
        """No scores."""
        return []

    def recall(self, scores: Sequence[float]) -> None:
        """Take up nothing."""

    def route(self, chunk: Chunk, usage: Usage) -> Routing:
        """Draw a model for each event."""
        opinions = np.stack([chunk.ask(i, everything(chunk)) for i in range(chunk.levels)])
        events = len(chunk.ids)
        drawn = coins(self._seed, "model", chunk.ids)
        bounds = np.cumsum(self._weights / self._weights.sum())
        level = np.minimum(np.searchsorted(bounds, drawn, side="right"), chunk.levels - 1)
        wanted = coins(self._seed, "expert", chunk.ids) < self._share
        left = self._plan.left(usage, events)
        sent = highest(np.ones(events), wanted, left)
        answers = opinions[level, np.arange(events)]
        return routing(answers, level, sent, Reason.JUMP, self._share)


class EnsembleLearner:
    """Learns the probabilities of the small levels: OGD with a step of t ** -1/2 (Theorem 3.1)."""

    def __init__(self, levels: int) -> None:
        self._weights = np.full(levels, 1 / levels)
        self._steps = 0

    def learn(
        self,
        opinions: Sequence[Probabilities],
        labels: npt.NDArray[np.intp],
        propensity: FloatArray,
    ) -> None:
        """Descend on the expected log loss of the drawn model, on the simplex."""
        for row, label in enumerate(labels):
            self._steps += 1
            losses = np.array([-log_opinion(p[row])[label] for p in opinions])
            self._weights = on_simplex(self._weights - self._steps**-0.5 * losses)

    def together(self, opinions: Sequence[Probabilities]) -> Probabilities:
        """What is said on average over the drawn models."""
        return np.asarray(sum(w * p for w, p in zip(self._weights, opinions, strict=True)))

    def tensors(self, updates: Sequence[int]) -> dict[str, npt.NDArray[Any]]:
        """``probabilities`` (levels,), float32."""
        return {"probabilities": self._weights.astype(np.float32)}

    def adopt(self, tensors: Tensors) -> None:
        """Go on from published probabilities."""
        self._weights = np.array(tensors["probabilities"], np.float64)

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Probabilities and step count."""
        return {"weights": self._weights.copy(), "steps": np.array([self._steps])}

    def restore(self, snapshot: Tensors) -> None:
        """Become what `snapshot` described."""
        self._weights = np.array(snapshot["weights"])
        self._steps = int(snapshot["steps"][0])


def on_simplex(point: FloatArray) -> FloatArray:
    """The nearest point whose entries are at least 0 and sum to 1 (Duchi et al., 2008)."""
    descending = np.sort(point)[::-1]
    excess = (np.cumsum(descending) - 1) / np.arange(1, len(point) + 1)
    last = np.flatnonzero(descending > excess)[-1]
    return np.asarray(np.maximum(point - excess[last], 0))


def online_ensemble(scenario: Scenario, _: float) -> Setup:
    """The set-up: the expert's probability is what the budget comes to."""

    def policy(settings: CascadeSettings) -> Policy:
        share = scenario.calls / scenario.events
        plan = SpendingPlan(settings.budget)
        return EnsemblePolicy(len(settings.levels), plan, share, settings.seed)

    def policy_learner(settings: CascadeSettings) -> PolicyLearner:
        return EnsembleLearner(len(settings.levels))

    parts = replace(scenario.parts, policy=policy, policy_learner=policy_learner)
    return Setup(parts, UNAUDITED)

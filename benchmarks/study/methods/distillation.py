"""Distillation: the expert answers the first events, one small level all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.study.methods.port import Scenario, Setup
from benchmarks.study.methods.scored import UNAUDITED, routing
from model_store.ledger import Usage
from operators.budget import SpendingPlan
from operators.levels.port import Tensors
from operators.policy.port import Chunk, Policy, Routing, everything
from operators.records import Reason
from operators.settings import CascadeSettings


class FirstCalls:
    """Spends the budget on the first events; then the last level answers by itself."""

    def __init__(self, plan: SpendingPlan) -> None:
        self._plan = plan

    def stage(self, tensors: Tensors) -> object:
        """Nothing is learned but the levels."""
        return None

    def swap(self, staged: object) -> None:
        """Serve on."""

    def recent(self) -> list[float]:
        """No scores."""
        return []

    def recall(self, scores: Sequence[float]) -> None:
        """Take up nothing."""

    def route(self, chunk: Chunk, usage: Usage) -> Routing:
        """Send events in their order while there is budget."""
        opinion = chunk.ask(chunk.levels - 1, everything(chunk))
        left = self._plan.left(usage, len(opinion))
        sent = np.arange(len(opinion)) < (len(opinion) if left is None else left)
        return routing(opinion, chunk.levels - 1, sent, Reason.POLICY)


def distilled(kind: str) -> Callable[[Scenario, float], Setup]:
    """The set-up with the small level of this kind alone."""

    def policy(settings: CascadeSettings) -> Policy:
        return FirstCalls(SpendingPlan(settings.budget))

    def set_up(scenario: Scenario, _: float) -> Setup:
        levels = [level for level in scenario.levels if level["kind"] == kind]
        return Setup(replace(scenario.parts, policy=policy), {**UNAUDITED, "levels": levels})

    return set_up

"""Periodic refit with a calibrated acceptance threshold, after TRACER.

A surrogate (logistic regression on embeddings) is fitted anew whenever the traces have grown
enough. It answers where its confidence reached the target agreement on traces that it had not
learned; while it reaches it nowhere, nothing is deployed and the expert answers everything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from benchmarks.study.methods.port import Knob, Scenario, Setup
from benchmarks.study.methods.scored import UNAUDITED, routing
from model_store.ledger import Usage
from operators.budget import SpendingPlan
from operators.levels.encoder.learning import EncoderLearner
from operators.levels.encoder.session import Encoder
from operators.levels.port import Learner, Probabilities, Tensors, expect
from operators.policy.port import Chunk, Policy, PolicyLearner, Routing, everything
from operators.records import Reason
from operators.settings import CascadeSettings, EncoderSettings, LinearSettings

TARGET = Knob(low=0.3, high=0.9999, rising=True)
"""Agreement with the expert that is asked of what the surrogate answers."""
_GROWTH = 0.15  # of the traces since the last fit
_FIRST_FIT = 50  # traces
_HELD_OUT = 500  # latest traces, predicted before they were learned, that calibrate the threshold
_FEWEST_HANDLED = 20  # of those, above the threshold, for parity to mean anything
_INVERSE_L2 = 10.0  # of the surrogate


class RefitLearner(EncoderLearner):
    """An encoder level whose head is fitted from scratch now and then, and not step by step."""

    def __init__(self, settings: EncoderSettings, encoder: Encoder, labels: int, seed: int) -> None:
        super().__init__(settings, encoder, labels, seed)
        self._traces: list[npt.NDArray[np.float32]] = []
        self._answers: list[int] = []
        self._fitted = 0

    def learn(self, texts: Sequence[str], labels: Sequence[int]) -> None:
        """Keep the traces; fit if they have grown enough."""
        if not texts:
            return
        self._traces += list(self._embed(texts))
        self._answers += labels
        self._updates += 1
        due = max(_FIRST_FIT, (1 + _GROWTH) * self._fitted)
        present = sorted(set(self._answers))
        if len(self._answers) < due or len(present) < 2:
            return
        self._fitted = len(self._answers)
        model = LogisticRegression(C=_INVERSE_L2, max_iter=1000)
        model.fit(np.array(self._traces, np.float64), self._answers)
        self._adopt_head(model, present)

    def _adopt_head(self, model: LogisticRegression, present: list[int]) -> None:
        coefficients, offsets = model.coef_, model.intercept_
        if len(present) == 2:  # sklearn keeps one row for two labels
            coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
            offsets = np.concatenate([[0.0], offsets])
        weights = np.zeros((coefficients.shape[1], self._labels), np.float32)
        bias = np.full(self._labels, -20.0, np.float32)  # a label not met yet is never given
        weights[:, present], bias[present] = coefficients.T, offsets
        self._head.adopt({"weights": weights, "bias": bias})


class AcceptancePolicy:
    """The surrogate answers where it is sure enough, the expert everywhere else."""

    def __init__(self, plan: SpendingPlan) -> None:
        self._plan = plan
        self._threshold = np.inf

    def stage(self, tensors: Tensors) -> object:
        """Check the threshold (1,)."""
        return float(expect(tensors, "threshold", np.float32, (1,))[0])

    def swap(self, staged: object) -> None:
        """Serve what `stage` returned from now on."""
        assert isinstance(staged, float)
        self._threshold = staged

    def recent(self) -> list[float]:
        """No scores."""
        return []

    def recall(self, scores: Sequence[float]) -> None:
        """Take up nothing."""

    def route(self, chunk: Chunk, usage: Usage) -> Routing:
        """Accept at or above the threshold."""
        opinion = chunk.ask(0, everything(chunk))
        return routing(opinion, 0, opinion.max(axis=1) < self._threshold, Reason.POLICY)


class AcceptanceLearner:
    """Calibrates the threshold on the latest traces, each predicted before it was learned."""

    def __init__(self, target: float) -> None:
        self._target = target
        self._held_out: deque[tuple[float, bool]] = deque(maxlen=_HELD_OUT)

    def learn(
        self,
        opinions: Sequence[Probabilities],
        labels: npt.NDArray[np.intp],
        propensity: npt.NDArray[np.float64],
    ) -> None:
        """Note confidence and agreement."""
        (opinion,) = opinions
        agree = opinion.argmax(axis=1) == labels
        self._held_out.extend(zip(opinion.max(axis=1).tolist(), agree.tolist(), strict=True))

    def together(self, opinions: Sequence[Probabilities]) -> Probabilities:
        """What the only level says."""
        return opinions[0]

    def tensors(self, updates: Sequence[int]) -> dict[str, npt.NDArray[Any]]:
        """``threshold`` (1,), float32; infinite while the parity gate refuses."""
        return {"threshold": np.array([acceptance(self._held_out, self._target)], np.float32)}

    def adopt(self, tensors: Tensors) -> None:
        """Start calibrating afresh."""
        self._held_out.clear()

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """The held-out traces."""
        return {"held_out": np.array(self._held_out, np.float64).reshape(-1, 2)}

    def restore(self, snapshot: Tensors) -> None:
        """Become what `snapshot` described."""
        self._held_out.clear()
        self._held_out.extend((float(c), bool(a)) for c, a in snapshot["held_out"])


def acceptance(held_out: Sequence[tuple[float, bool]] | deque[Any], target: float) -> float:
    """The lowest confidence above which agreement reaches the target; infinite if there is none.

    Parameters
    ----------
    held_out
        Confidence and agreement of each trace.
    """
    ordered = sorted(held_out, reverse=True)
    reached = np.inf
    hits = 0
    for handled, (confidence, agrees) in enumerate(ordered, start=1):
        hits += agrees
        last = handled == len(ordered) or ordered[handled][0] < confidence
        if last and handled >= _FEWEST_HANDLED and hits >= target * handled:
            reached = confidence
    return float(reached)


def refit(scenario: Scenario, target: float) -> Setup:
    """The encoder alone before the expert, and no budget but the target."""

    def learner(settings: LinearSettings | EncoderSettings, labels: int, seed: int) -> Learner:
        assert isinstance(settings, EncoderSettings)
        return RefitLearner(settings, scenario.encoder(settings), labels, seed)

    def policy(settings: CascadeSettings) -> Policy:
        return AcceptancePolicy(SpendingPlan(settings.budget))

    def policy_learner(settings: CascadeSettings) -> PolicyLearner:
        return AcceptanceLearner(target)

    levels = [level for level in scenario.levels if level["kind"] == "encoder"]
    parts = replace(scenario.parts, learner=learner, policy=policy, policy_learner=policy_learner)
    return Setup(parts, {**UNAUDITED, "levels": levels, "budget": {"calls": scenario.events}})

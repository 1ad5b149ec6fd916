"""Query by committee: the last small level several times, each taught on another resample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.study.methods.port import Scenario, Setup
from benchmarks.study.methods.scored import scored
from benchmarks.study.methods.scores import committee
from operators.levels.port import Learner, Probabilities, Tensors
from operators.policy.budgeted import BudgetedLearner
from operators.policy.port import PolicyLearner
from operators.settings import (
    BudgetedSettings,
    CascadeSettings,
    EncoderSettings,
    LinearSettings,
)

MEMBERS = 4


class BaggedLearner:
    """Online bagging (Oza & Russell): each example is learned k ~ Poisson(1) times.

    Parameters
    ----------
    seed
        Of k, with the number of the example.
    """

    def __init__(self, inner: Learner, seed: int) -> None:
        self._inner = inner
        self._random = np.random.default_rng(seed)
        self.name = inner.name

    @property
    def updates(self) -> int:
        """Updates of the member."""
        return self._inner.updates

    def predict(self, texts: Sequence[str]) -> Probabilities:
        """The member's opinion."""
        return self._inner.predict(texts)

    def predict_again(self, texts: Sequence[str]) -> Probabilities:
        """The same."""
        return self._inner.predict_again(texts)

    def learn(self, texts: Sequence[str], labels: Sequence[int]) -> None:
        """Teach the member its resample."""
        times = self._random.poisson(1.0, len(texts))
        self._inner.learn(
            [text for text, n in zip(texts, times, strict=True) for _ in range(n)],
            [label for label, n in zip(labels, times, strict=True) for _ in range(n)],
        )

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The member's weights."""
        return self._inner.tensors()

    def adopt(self, tensors: Tensors) -> None:
        """Go on from published weights."""
        self._inner.adopt(tensors)

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Of the member; a study restores nothing, so the draws are left out."""
        return self._inner.snapshot()

    def restore(self, snapshot: Tensors) -> None:
        """Become the member that was."""
        self._inner.restore(snapshot)


def by_committee(scenario: Scenario, knob: float) -> Setup:
    """Other levels stay as they are; the members' disagreement is the score."""
    *others, last = scenario.levels
    name = str(last.get("name", last["kind"]))
    members = [{**last, "name": f"{name}-{i}"} for i in range(MEMBERS)]
    plain = scored(committee)(scenario, knob)

    def learner(settings: LinearSettings | EncoderSettings, labels: int, seed: int) -> Learner:
        made = scenario.parts.learner(settings, labels, seed)
        return BaggedLearner(made, seed) if settings.name.startswith(f"{name}-") else made

    def policy_learner(settings: CascadeSettings) -> PolicyLearner:
        # Members are equals: none of them leads.
        assert isinstance(settings.policy, BudgetedSettings)
        levels = len(settings.levels)
        return BudgetedLearner(settings.policy, levels, np.ones(levels))

    return Setup(
        replace(plain.parts, learner=learner, policy_learner=policy_learner),
        {**plain.changes, "levels": [*others, *members]},
    )

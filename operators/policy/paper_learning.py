"""The paper's policy, learning half: the deferral functions descend on Eq. 5 and Eq. 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.levels.port import Probabilities, Tensors, expect, under
from operators.policy.deferral_mlp import DeferralMLP, published_parameters
from operators.policy.ensemble import log_opinion, normalise
from operators.policy.paper import gates_for
from operators.settings import PaperSettings


class PaperLearner:
    """Learns one deferral function for each small level.

    Parameters
    ----------
    costs
        Cost of asking each small level, cheapest first; that of the expert is a setting.
    labels
        Number of labels.
    seed
        Of the first weights.
    """

    def __init__(
        self, settings: PaperSettings, costs: Sequence[float], labels: int, seed: int
    ) -> None:
        self._settings = settings
        self._labels = labels
        self._gates = gates_for(settings, len(costs))
        # c_{i+1} of the paper: what a deferral from level i costs.
        self._next_cost = np.array([*costs[1:], settings.expert_cost])
        self._calibration = np.array([gate.calibration for gate in self._gates])
        random = np.random.Generator(np.random.PCG64(seed))
        self._functions = [
            DeferralMLP(
                labels,
                settings.hidden,
                gate.rate,
                settings.weight_decay,
                settings.optimizer,
                random,
            )
            for gate in self._gates
        ]

    def learn(
        self,
        opinions: Sequence[Probabilities],
        labels: npt.NDArray[np.intp],
        propensity: npt.NDArray[np.float64],
    ) -> None:
        """Take one step for each annotation, in order."""
        for row, label in enumerate(labels):
            views = [p[row] for p in opinions]
            values = np.array(
                [
                    function(view[None])[0]
                    for function, view in zip(self._functions, views, strict=True)
                ]
            )
            slopes = objective_slopes(
                self._settings, self._next_cost, self._calibration, values, views, int(label)
            )
            for function, view, slope in zip(self._functions, views, slopes, strict=True):
                function.step(view, float(slope))

    def together(self, opinions: Sequence[Probabilities]) -> Probabilities:
        """What the last of them says: levels are not averaged."""
        return opinions[-1]

    def tensors(self, updates: Sequence[int]) -> dict[str, npt.NDArray[Any]]:
        """``deferral.<i>`` parameter vectors and ``updates`` (levels,), which drives beta."""
        published: dict[str, npt.NDArray[Any]] = {
            f"deferral.{i}": function.published() for i, function in enumerate(self._functions)
        }
        return published | {"updates": np.array(updates, np.int64)}

    def adopt(self, tensors: Tensors) -> None:
        """Go on from published parameters."""
        labels, hidden = self._labels, self._settings.hidden
        expect(tensors, "updates", np.int64, (len(self._functions),))
        for i, function in enumerate(self._functions):
            function.adopt(published_parameters(tensors, f"deferral.{i}", labels, hidden))

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Parameters and optimizers."""
        return {
            f"{i}/{key}": value
            for i, function in enumerate(self._functions)
            for key, value in function.snapshot().items()
        }

    def restore(self, snapshot: Tensors) -> None:
        """Become what `snapshot` described."""
        for i, function in enumerate(self._functions):
            function.restore(under(str(i), snapshot))


def objective_slopes(
    settings: PaperSettings,
    next_cost: npt.NDArray[np.float64],
    calibration: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64],
    opinions: Sequence[npt.NDArray[np.float64]],
    label: int,
) -> npt.NDArray[np.float64]:
    """Derivative of the objective by each deferral probability f_i, at one annotation.

    Eq. 5: sum of (f_i - z_i)^2 with z_i = 1[level i is wrong], raised by the calibration factor.
    Eq. 1: the episode's expected cost J = V_1 with V_i = (1 - f_i) L_i + f_i (mu c_{i+1} + V_{i+1})
    and V_N = 0, since the expert is the truth; dJ/df_i is the probability of reaching level i
    times (mu c_{i+1} + V_{i+1} - L_i).

    Parameters
    ----------
    next_cost, calibration, values
        Shape (levels,): c_{i+1}, calibration factors and f_i.
    opinions
        For each level, shape (labels,).
    """
    slopes = np.zeros(len(values))
    if settings.objective != "cost":
        wrong = np.array([float(p.argmax() != label) for p in opinions])
        slopes += 2 * (values - np.minimum(wrong + calibration, 1.0))
    if settings.objective != "calibration":
        losses = [_loss(p, label, settings.loss_on) for p in opinions]
        reach = np.concatenate([[1.0], np.cumprod(values)[:-1]])
        later = 0.0
        for i in reversed(range(len(values))):
            onward = settings.mu * next_cost[i] + later
            slopes[i] += reach[i] * (onward - losses[i])
            later = (1 - values[i]) * losses[i] + values[i] * onward
    return slopes


def _loss(opinion: npt.NDArray[np.float64], label: int, loss_on: str) -> float:
    """Cross-entropy of an opinion; the authors' code takes the probabilities for logits."""
    probabilities = normalise(opinion) if loss_on == "probabilities" else opinion
    return -float(log_opinion(probabilities)[label])

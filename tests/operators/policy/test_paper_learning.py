"""The learning half of the paper's policy, against Eq. 1 and Eq. 5 written out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.budget import SpendingPlan
from operators.policy.deferral_mlp import DeferralMLP
from operators.policy.paper import PaperPolicy
from operators.policy.paper_learning import PaperLearner, objective_slopes
from operators.settings import GateSettings, PaperSettings
from tests.operators.fakes import confident

FloatArray = npt.NDArray[np.float64]
_HIDDEN = 8
Lesson = tuple[list[FloatArray], npt.NDArray[np.intp], FloatArray]


def loss(p: FloatArray, label: int, loss_on: str) -> float:
    """Cross-entropy; the authors' code takes probabilities for logits."""
    if loss_on == "probabilities":
        p = np.exp(p) / np.exp(p).sum()
    return -float(np.log(p[label] + 1e-9))


def objective(
    chosen: PaperSettings,
    costs: FloatArray,
    calibration: FloatArray,
    f: FloatArray,
    opinions: Sequence[FloatArray],
    label: int,
) -> float:
    """Eq. 5 and Eq. 1 as sums over the levels."""
    eq_5 = sum(
        (f[i] - min(float(p.argmax() != label) + calibration[i], 1.0)) ** 2
        for i, p in enumerate(opinions)
    )
    eq_1, reach = 0.0, 1.0
    for i, p in enumerate(opinions):
        immediate = f[i] * chosen.mu * costs[i] + (1 - f[i]) * loss(p, label, chosen.loss_on)
        eq_1 += reach * immediate
        reach *= f[i]
    return float({"both": eq_5 + eq_1, "calibration": eq_5, "cost": eq_1}[chosen.objective])


@settings(max_examples=100, deadline=None)
@given(
    levels=st.integers(1, 3),
    which=st.sampled_from(["both", "calibration", "cost"]),
    loss_on=st.sampled_from(["logits", "probabilities"]),
    mu=st.floats(0, 0.01),
    seed=st.integers(0, 2**32 - 1),
)
def test_slopes_are_those_of_finite_differences(
    levels: int,
    which: Literal["both", "calibration", "cost"],
    loss_on: Literal["logits", "probabilities"],
    mu: float,
    seed: int,
) -> None:
    chosen = PaperSettings(objective=which, loss_on=loss_on, mu=mu)
    random = np.random.default_rng(seed)
    opinions = list(random.dirichlet(np.ones(3), levels))
    f, label = random.uniform(0.01, 0.99, levels), int(random.integers(3))
    costs, calibration = random.uniform(1, 1200, levels), random.uniform(0, 1, levels)
    slopes = objective_slopes(chosen, costs, calibration, f, opinions, label)
    shift = 1e-5
    numeric = [
        (
            objective(chosen, costs, calibration, f + shift * unit, opinions, label)
            - objective(chosen, costs, calibration, f - shift * unit, opinions, label)
        )
        / (2 * shift)
        for unit in np.eye(levels)
    ]
    assert slopes == pytest.approx(numeric, abs=1e-5, rel=1e-5)


def lesson(seed: int, levels: int = 1, rows: int = 6) -> Lesson:
    random = np.random.default_rng(seed)
    return (
        list(random.dirichlet(np.ones(2), size=(levels, rows))),
        random.integers(2, size=rows),
        np.ones(rows),
    )


def learner(chosen: PaperSettings, levels: int = 1, seed: int = 0) -> PaperLearner:
    return PaperLearner(chosen, [1.0] * levels, 2, seed)


def after(chosen: PaperSettings, lessons: int = 3) -> FloatArray:
    taught = learner(chosen)
    for seed in range(lessons):
        taught.learn(*lesson(seed))
    return np.array(taught.tensors([1])["deferral.0"], np.float64)


_PLAIN = PaperSettings(hidden=_HIDDEN)


@pytest.mark.parametrize(
    "change",
    [
        {"mu": 0.01},
        {"expert_cost": 50.0},
        {"objective": "cost"},
        {"objective": "calibration"},
        {"loss_on": "probabilities"},
        {"optimizer": "ogd"},
        {"weight_decay": 0.1},
        {"gates": (GateSettings(calibration=0.0),)},
        {"gates": (GateSettings(rate=0.01),)},
    ],
    ids=str,
)
def test_every_option_has_an_effect(change: dict[str, Any]) -> None:
    assert not np.allclose(after(_PLAIN), after(_PLAIN.model_copy(update=change)), atol=1e-7)


def test_steps_are_taken_one_annotation_at_a_time_in_order() -> None:
    """Three levels: f_i of all of them is read before any of them moves."""
    chosen = PaperSettings(
        hidden=_HIDDEN, gates=tuple(GateSettings(rate=r) for r in (1e-3, 2e-3, 3e-3))
    )
    costs = [1.0, 3.0, 5.0]
    taught = PaperLearner(chosen, costs, 2, seed=4)
    random = np.random.Generator(np.random.PCG64(4))
    functions = [
        DeferralMLP(2, _HIDDEN, gate.rate, chosen.weight_decay, "adam", random)
        for gate in chosen.gates
    ]
    opinions, labels, propensity = lesson(0, levels=3, rows=5)
    for row, label in enumerate(labels):
        views = [p[row] for p in opinions]
        values = np.array([f(v[None])[0] for f, v in zip(functions, views, strict=True)])
        slopes = objective_slopes(
            chosen,
            np.array([3.0, 5.0, chosen.expert_cost]),
            np.full(3, 0.4),
            values,
            views,
            int(label),
        )
        for function, view, slope in zip(functions, views, slopes, strict=True):
            function.step(view, float(slope))
    taught.learn(opinions, labels, propensity)
    published = taught.tensors([1, 2, 3])
    for i, function in enumerate(functions):
        assert published[f"deferral.{i}"] == pytest.approx(function.published(), abs=1e-6)
    assert published["updates"].tolist() == [1, 2, 3]


def test_it_learns_when_to_defer() -> None:
    """The level is wrong exactly where it is unsure."""
    chosen = PaperSettings(
        hidden=_HIDDEN, objective="calibration", gates=(GateSettings(rate=0.01, calibration=0),)
    )
    taught = learner(chosen)
    sure, unsure = confident(0.98), confident(0.55)
    for _ in range(150):
        opinions = [np.array([sure, unsure])]
        taught.learn(opinions, np.array([0, 1]), np.ones(2))
    (function,) = taught._functions
    assert function(np.array([sure, unsure])).round().tolist() == [0, 1]


def test_calibration_makes_deferral_likelier() -> None:
    values = []
    for calibration in (0.0, 0.4):
        chosen = PaperSettings(
            hidden=_HIDDEN,
            objective="calibration",
            gates=(GateSettings(rate=0.01, calibration=calibration),),
        )
        taught = learner(chosen)
        for _ in range(150):
            taught.learn([np.array([confident(0.8)])], np.array([0]), np.ones(1))
        values.append(float(taught._functions[0](np.array([confident(0.8)]))[0]))
    assert values == pytest.approx([0.0, 0.4], abs=0.1)


@pytest.mark.parametrize("levels", [1, 3])
def test_what_is_learned_is_published_staged_and_adopted(levels: int) -> None:
    chosen = PaperSettings(hidden=_HIDDEN)
    taught, heir = learner(chosen, levels), learner(chosen, levels, seed=1)
    for seed in range(3):
        taught.learn(*lesson(seed, levels))
    published = taught.tensors([4] * levels)
    policy = PaperPolicy(chosen, levels, 2, SpendingPlan(None), 0)
    policy.swap(policy.stage(published))
    heir.adopt(published)
    for name, array in heir.tensors([4] * levels).items():
        assert np.array_equal(array, published[name])


@settings(max_examples=25, deadline=None)
@given(
    optimizer=st.sampled_from(["adam", "ogd"]),
    levels=st.sampled_from([1, 3]),
    seeds=st.lists(st.integers(0, 99), max_size=6),
    data=st.data(),
)
def test_a_snapshot_goes_on_as_if_never_stopped(
    optimizer: Literal["adam", "ogd"], levels: int, seeds: list[int], data: st.DataObject
) -> None:
    chosen = PaperSettings(hidden=_HIDDEN, optimizer=optimizer)
    at = data.draw(st.integers(0, len(seeds)))
    steady, second = learner(chosen, levels), learner(chosen, levels, seed=1)
    second.learn(*lesson(100, levels))
    for seed in seeds[:at]:
        steady.learn(*lesson(seed, levels))
    second.restore(steady.snapshot())
    for seed in seeds[at:]:
        steady.learn(*lesson(seed, levels))
        second.learn(*lesson(seed, levels))
    for name, array in steady.snapshot().items():
        assert np.array_equal(array, second.snapshot()[name])

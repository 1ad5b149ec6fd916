"""The deferral MLP, against finite differences and Adam as published."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.errors import TensorMismatch
from operators.policy.deferral_mlp import (
    DeferralMLP,
    forward,
    published_parameters,
    size,
    unpack,
)

FloatArray = npt.NDArray[np.float64]
_LABELS, _HIDDEN = 3, 5


def mlp(
    optimizer: str = "ogd", rate: float = 0.1, decay: float = 0.0, seed: int = 0
) -> DeferralMLP:
    random = np.random.Generator(np.random.PCG64(seed))
    return DeferralMLP(_LABELS, _HIDDEN, rate, decay, optimizer, random)


def naive(parameters: FloatArray, p: FloatArray) -> float:
    """Section 3: |Y| -> hidden -> 1 with a sigmoid, one unit at a time."""
    inner, bias, outer, offset = unpack(parameters, _LABELS, _HIDDEN)
    total = offset
    for unit in range(_HIDDEN):
        value = bias[unit] + sum(inner[unit, label] * p[label] for label in range(_LABELS))
        total += outer[unit] * max(value, 0.0)
    return float(1 / (1 + np.exp(-total)))


def gradient(function: DeferralMLP, p: FloatArray, slope: float) -> FloatArray:
    """What a first step of plain gradient descent with rate 1 subtracts."""
    before = function._parameters.copy()
    function.step(p, slope)
    return np.array(before - function._parameters)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_forward_is_the_formula(seed: int) -> None:
    random = np.random.default_rng(seed)
    parameters = random.normal(size=size(_LABELS, _HIDDEN))
    rows = random.dirichlet(np.ones(_LABELS), 4)
    values, active = forward(parameters, _LABELS, _HIDDEN, rows)
    assert values == pytest.approx([naive(parameters, row) for row in rows])
    assert active.shape == (4, _HIDDEN)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    slope=st.floats(-3, 3),
    decay=st.sampled_from([0.0, 0.3]),
)
def test_the_gradient_is_that_of_finite_differences(seed: int, slope: float, decay: float) -> None:
    function = mlp(rate=1.0, decay=decay, seed=seed)
    p = np.random.default_rng(seed).dirichlet(np.ones(_LABELS))
    parameters = function._parameters.copy()

    def loss(at: FloatArray) -> float:
        return slope * naive(at, p) + decay * float(at @ at)

    shift = 1e-6
    numeric = np.array(
        [
            (loss(parameters + shift * unit) - loss(parameters - shift * unit)) / (2 * shift)
            for unit in np.eye(len(parameters))
        ]
    )
    assert gradient(function, p, slope) == pytest.approx(numeric, abs=1e-5)


def test_ogd_steps_shrink_with_the_root_of_time() -> None:
    function = mlp(rate=1e-6)
    p = np.array([0.5, 0.3, 0.2])
    first = gradient(function, p, 1.0)
    for _ in range(2):
        function.step(p, 1.0)
    assert gradient(function, p, 1.0) == pytest.approx(first / 2, rel=1e-3)


def test_adam_is_the_published_one() -> None:
    function, plain = mlp("adam", rate=0.01), mlp("ogd", rate=1.0)
    random = np.random.default_rng(0)
    parameters = function._parameters.copy()
    first, second = np.zeros_like(parameters), np.zeros_like(parameters)
    for step in range(1, 30):
        p, slope = random.dirichlet(np.ones(_LABELS)), float(random.normal())
        plain.adopt(parameters)
        g = gradient(plain, p, slope)
        first = 0.9 * first + 0.1 * g
        second = 0.999 * second + 0.001 * g**2
        ahead, scale = first / (1 - 0.9**step), np.sqrt(second / (1 - 0.999**step))
        parameters = parameters - 0.01 * ahead / (scale + 1e-8)
        function.step(p, slope)
        assert function._parameters == pytest.approx(parameters, abs=1e-9)


@pytest.mark.parametrize("optimizer", ["adam", "ogd"])
def test_it_learns_to_defer_the_unsure(optimizer: str) -> None:
    function = mlp(optimizer, rate=0.01 if optimizer == "adam" else 2.0)
    sure, unsure = np.array([0.98, 0.01, 0.01]), np.array([0.34, 0.33, 0.33])
    for _ in range(800):
        for p, target in ((sure, 0.0), (unsure, 1.0)):
            function.step(p, 2 * float(function(p[None])[0] - target))
    assert function(np.stack([sure, unsure])).round().tolist() == [0, 1]


@pytest.mark.parametrize("optimizer", ["adam", "ogd"])
def test_a_snapshot_goes_on_as_if_never_stopped(optimizer: str) -> None:
    steady, other = mlp(optimizer), mlp(optimizer, seed=1)
    p = np.array([0.2, 0.2, 0.6])
    for _ in range(5):
        steady.step(p, 0.5)
    snapshot = steady.snapshot()
    other.restore(snapshot)
    for _ in range(5):
        steady.step(p, -0.3)
        other.step(p, -0.3)
    assert np.array_equal(steady._parameters, other._parameters)
    # The snapshot did not move along.
    assert not np.array_equal(snapshot["parameters"], steady._parameters)
    assert snapshot["steps"].tolist() == [5]


def test_what_is_published_is_what_is_served() -> None:
    function, heir = mlp("adam"), mlp("adam", seed=1)
    function.step(np.array([1.0, 0.0, 0.0]), 1.0)
    rows = np.random.default_rng(0).dirichlet(np.ones(_LABELS), 10)
    published = {"deferral.0": function.published()}
    parameters = published_parameters(published, "deferral.0", _LABELS, _HIDDEN)
    assert forward(parameters, _LABELS, _HIDDEN, rows)[0] == pytest.approx(function(rows), abs=1e-6)
    heir.adopt(function.published())
    assert np.array_equal(heir.published(), function.published())
    with pytest.raises(TensorMismatch):
        published_parameters(published, "deferral.0", _LABELS + 1, _HIDDEN)


def test_first_weights_are_those_of_torch_linear() -> None:
    random = np.random.Generator(np.random.PCG64(0))
    function = DeferralMLP(4, 128, 0.1, 0.0, "adam", random)
    inner, bias, outer, offset = unpack(function._parameters, 4, 128)
    assert np.abs(inner).max() <= 0.5
    assert np.abs(inner).max() > 0.49
    assert np.abs(bias).max() <= 0.5
    assert max(np.abs(outer).max(), abs(offset)) <= 128**-0.5
    assert np.abs(outer).max() > 0.95 * 128**-0.5

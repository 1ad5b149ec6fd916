"""Exit gates estimate how often a later level would disagree, from a biased sample."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.policy import calibration, exits

FloatArray = npt.NDArray[np.float64]


def binary(top: FloatArray) -> FloatArray:
    return np.stack([top, 1 - top], axis=1)


@given(top=st.floats(0.5, 1 - 1e-5))
def test_before_learning_the_risk_is_the_doubt_of_the_level(top: float) -> None:
    assert calibration.risk(calibration.FIRST, calibration.doubt(binary(np.array([top]))))[
        0
    ] == pytest.approx(1 - top, rel=1e-6)


@given(top=st.floats(0.5, 1), offset=st.floats(-20, 20), slope=st.floats(-5, 5))
def test_the_risk_is_a_probability(top: float, offset: float, slope: float) -> None:
    risk = calibration.risk(np.array([offset, slope]), calibration.doubt(binary(np.array([top]))))
    assert 0 <= risk[0] <= 1


def stream(
    count: int, seed: int, offset: float, slope: float
) -> tuple[list[FloatArray], FloatArray, FloatArray]:
    """Opinions of a level, those of all together, and how often they truly disagree."""
    random = np.random.default_rng(seed)
    first = binary(random.uniform(0.5, 0.999, count))
    truth = calibration.risk(np.array([offset, slope]), calibration.doubt(first))
    together = np.where(random.random(count) < truth, 1, 0)
    return [first], np.eye(2)[together], truth


def learn(
    views: list[FloatArray], together: FloatArray, propensity: FloatArray, batch: int = 16
) -> FloatArray:
    gates, squares = exits.first(2), np.zeros((1, 2))
    for start in range(0, len(together), batch):
        part = slice(start, start + batch)
        exits.improve(gates, squares, [p[part] for p in views], together[part], propensity[part])
    return np.array(gates[0])


@pytest.mark.parametrize(("offset", "slope"), [(1.0, 1.0), (-1.5, 0.5), (0.0, 1.0)])
def test_learning_calibrates_the_risk(offset: float, slope: float) -> None:
    views, together, truth = stream(24_000, 0, offset, slope)
    gate = learn(views, together, np.ones(len(truth)))
    error = np.abs(calibration.risk(gate, calibration.doubt(views[0])) - truth).mean()
    untaught = np.abs(
        calibration.risk(calibration.FIRST, calibration.doubt(views[0])) - truth
    ).mean()
    assert error < 0.03
    assert error < untaught or untaught < 1e-6


def test_importance_weights_undo_the_selection() -> None:
    """Among confident events only those that went wrong are likely to be annotated."""
    views, together, truth = stream(40_000, 1, 0.5, 0.8)
    disagrees = together.argmax(axis=1) == 1
    propensity = np.where(disagrees, 0.9, 0.15)
    seen = np.random.default_rng(2).random(len(truth)) < propensity
    sample = ([views[0][seen]], together[seen])
    weighted = learn(*sample, propensity[seen])
    naive = learn(*sample, np.ones(int(seen.sum())))
    error = np.abs(calibration.risk(weighted, calibration.doubt(views[0])) - truth).mean()
    assert error < 0.04
    assert np.abs(calibration.risk(naive, calibration.doubt(views[0])) - truth).mean() > 4 * error


def test_a_tiny_propensity_does_not_drown_the_others() -> None:
    views = [binary(np.array([0.9, 0.9]))]
    together = np.eye(2)[[0, 1]]
    after = []
    for rare in (1e-9, 1 / 50):
        gates, squares = exits.first(2), np.zeros((1, 2))
        exits.improve(gates, squares, views, together, np.array([1.0, rare]))
        after.append(gates)
    assert after[0] == pytest.approx(after[1])


def test_each_level_has_a_gate_of_its_own() -> None:
    sure, unsure = binary(np.full(8, 0.95)), binary(np.full(8, 0.55))
    gates, squares = exits.first(3), np.zeros((2, 2))
    together = np.eye(2)[[0] * 8]
    for _ in range(50):
        exits.improve(gates, squares, [unsure, sure, sure], together, np.ones(8))
    # Both always agreed with the whole: the doubtful one had more to learn.
    assert calibration.risk(gates[0], calibration.doubt(unsure))[0] < 0.2
    assert calibration.risk(gates[1], calibration.doubt(sure))[0] < 0.05
    assert not np.array_equal(gates[0], gates[1])

"""A step on sparse entries, against the same step on a dense matrix."""

from __future__ import annotations

import numpy as np
import pytest

from operators.levels.regression import Regression, softmax
from operators.settings import LinearSettings

_SLOTS, _LABELS = 40, 3


def batches(count: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Slots, values, owners and answers of a few examples that share slots; one has no entry."""
    random = np.random.default_rng(7)
    made = []
    for _ in range(count):
        examples = [np.sort(random.choice(_SLOTS - 1, n, False)) + 1 for n in (9, 0, 14, 3)]
        slots = np.concatenate(examples).astype(np.int32)
        owners = np.repeat(np.arange(4), [len(slots) for slots in examples])
        values = random.uniform(0.1, 1, len(slots)).astype(np.float32)
        made.append((slots, values, owners, random.integers(0, _LABELS, 4)))
    return made


@pytest.mark.parametrize("l2", [0.0, 0.05])
@pytest.mark.parametrize("optimizer", ["adagrad", "ogd"])
def test_a_step_is_that_of_a_dense_regression(optimizer: str, l2: float) -> None:
    chosen = LinearSettings.model_validate({"optimizer": optimizer, "l2": l2, "rate": 0.3})
    regression = Regression(chosen, _LABELS)
    regression.grow(_SLOTS)
    weights, bias = np.zeros((_SLOTS, _LABELS)), np.zeros(_LABELS)
    squares, bias_squares = np.full_like(weights, 1e-2), np.full_like(bias, 1e-2)
    for number, (slots, values, owners, answers) in enumerate(batches(30), start=1):
        regression.step(slots, values, owners, answers)
        inputs = np.zeros((4, _SLOTS))
        inputs[owners, slots] = values
        error = softmax(inputs @ weights + bias) - np.eye(_LABELS)[answers]
        touched = inputs.any(axis=0)[:, None]
        gradient, bias_gradient = inputs.T @ error + l2 * weights * touched, error.sum(axis=0)
        if optimizer == "ogd":
            weights -= 0.3 / number**0.5 * gradient
            bias -= 0.3 / number**0.5 * bias_gradient
        else:
            squares += gradient**2
            bias_squares += bias_gradient**2
            weights -= 0.3 * gradient / (np.sqrt(squares) + 1e-6)
            bias -= 0.3 * bias_gradient / (np.sqrt(bias_squares) + 1e-6)
    assert regression.weights(_SLOTS) == pytest.approx(weights[1:], abs=1e-4)
    assert regression.bias == pytest.approx(bias, abs=1e-4)
    slots, values, owners, _ = batches(1)[0]
    indptr = np.searchsorted(owners, np.arange(5))
    inputs = np.zeros((4, _SLOTS))
    inputs[owners, slots] = values
    expected = softmax(inputs @ weights + bias)
    assert regression.predict(slots, values, indptr) == pytest.approx(expected, abs=1e-4)


def test_slots_that_are_new_start_like_the_first() -> None:
    one, two = (Regression(LinearSettings(), _LABELS) for _ in range(2))
    one.grow(10_000)
    two.grow(10)
    two.grow(10_000)
    for regression in (one, two):
        slots = np.array([1, 9_999], np.int32)
        regression.step(slots, np.ones(2, np.float32), np.zeros(2, np.int64), np.array([1]))
    assert np.array_equal(one.weights(10_000), two.weights(10_000))
    assert np.array_equal(one.squares(10_000), two.squares(10_000))
    assert one.weights(10_000)[[0, 9_998]].any(axis=1).all()

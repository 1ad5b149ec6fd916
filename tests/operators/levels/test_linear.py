"""The linear learner, against a dense logistic regression, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from model_store.errors import TensorMismatch
from operators.levels.features import NgramHasher
from operators.levels.linear import LinearLearner, check
from operators.levels.regression import softmax
from operators.levels.tfidf import tfidf
from operators.settings import FeatureSettings, LinearSettings
from tests.operators.levels.checks import equal, toy_stream

_FEATURES = FeatureSettings(bits=8, words=1, characters=None)
_SIZE, _LABELS = 256, 3


def dense_regression(
    chosen: LinearSettings, stream: list[tuple[str, int]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """One dense step an example, in float64: the textbook's optimizers, lazily decayed."""
    hasher = NgramHasher(_FEATURES)
    weights, bias = np.zeros((_SIZE, _LABELS)), np.zeros(_LABELS)
    squares, bias_squares = np.full_like(weights, 1e-2), np.full_like(bias, 1e-2)
    frequency = np.zeros(_SIZE, np.float32)
    for step, (text, label) in enumerate(stream, start=1):
        counts = hasher([text])
        frequency[counts.indices] += 1
        x = np.zeros(_SIZE)
        x[counts.indices] = tfidf(counts, frequency, step)
        error = softmax(x @ weights + bias) - np.eye(_LABELS)[label]
        gradient = np.outer(x, error) + chosen.l2 * weights * (x > 0)[:, None]
        if chosen.optimizer == "ogd":
            weights -= chosen.rate / step**0.5 * gradient
            bias -= chosen.rate / step**0.5 * error
        else:
            squares += gradient**2
            bias_squares += error**2
            weights -= chosen.rate * gradient / (np.sqrt(squares) + 1e-6)
            bias -= chosen.rate * error / (np.sqrt(bias_squares) + 1e-6)
    return weights, bias


@pytest.mark.parametrize(
    "chosen",
    [
        LinearSettings(features=_FEATURES, replay=0, optimizer="ogd", rate=2),
        LinearSettings(features=_FEATURES, replay=0, optimizer="ogd", rate=2, l2=0.05),
        LinearSettings(features=_FEATURES, replay=0),
        LinearSettings(features=_FEATURES, replay=0, l2=0.05),
    ],
    ids=["ogd", "ogd, l2", "adagrad", "adagrad, l2"],
)
def test_steps_are_those_of_a_dense_regression(chosen: LinearSettings) -> None:
    stream = toy_stream(60)
    learner = LinearLearner(chosen, _LABELS, seed=0)
    for text, label in stream:
        learner.learn([text], [label])
    weights, bias = dense_regression(chosen, stream)
    published = learner.tensors()
    assert published["weights"] == pytest.approx(weights[published["rows"]], abs=1e-4)
    assert published["bias"] == pytest.approx(bias, abs=1e-4)
    untouched = np.setdiff1d(np.arange(_SIZE), published["rows"])
    assert not weights[untouched].any()


def test_document_frequencies_count_each_annotation_once_despite_replay() -> None:
    learner = LinearLearner(LinearSettings(features=_FEATURES, replay=4), _LABELS, seed=0)
    learner.learn(["good good bad", "good"], [0, 0])
    learner.learn(["good"], [0])
    published = learner.tensors()
    assert published["documents"].tolist() == [3]
    assert sorted(published["frequency"].tolist()) == [1, 3]


def test_replay_learns_earlier_examples_again() -> None:
    says = []
    for replay in (0, 8):
        chosen = LinearSettings(features=_FEATURES, replay=replay, rate=0.05)
        learner = LinearLearner(chosen, _LABELS, seed=0)
        learner.learn(["good"] * 10, [0] * 10)
        learner.learn(["bad"] * 30, [1] * 30)
        says.append(learner.predict(["good"])[0, 0])
    assert says[1] > says[0] + 0.1


def test_a_release_holds_the_touched_rows_alone() -> None:
    learner = LinearLearner(LinearSettings(features=_FEATURES), _LABELS, seed=0)
    assert len(learner.tensors()["rows"]) == 0
    learner.learn(["one two"], [0])
    assert len(learner.tensors()["rows"]) == 2
    assert learner.updates == 1


def test_a_learner_that_knows_nothing_can_be_adopted() -> None:
    chosen = LinearSettings(features=_FEATURES)
    learner, fresh = (LinearLearner(chosen, _LABELS, seed=0) for _ in range(2))
    learner.learn(["one two"], [0])
    learner.adopt(fresh.tensors())
    assert equal(learner.tensors(), fresh.tensors())
    assert equal(learner.snapshot(), fresh.snapshot())


def test_softmax_survives_large_logits() -> None:
    rows = softmax(np.array([[1e4, 0.0], [-1e4, -1e4]]))
    assert rows == pytest.approx(np.array([[1, 0], [0.5, 0.5]]))


def sound() -> dict[str, npt.NDArray[Any]]:
    return {
        "rows": np.array([1, 5, 7], np.int32),
        "weights": np.ones((3, _LABELS), np.float32),
        "frequency": np.array([1, 2, 3], np.float32),
        "bias": np.zeros(_LABELS, np.float32),
        "documents": np.array([3], np.float32),
    }


BROKEN: dict[str, dict[str, npt.NDArray[Any] | None]] = {
    **{f"{name} missing": {name: None} for name in sound()},
    "rows of another type": {"rows": np.array([1, 5, 7], np.int64)},
    "rows of floats": {"rows": np.array([1, 5, 7], np.float32)},
    "rows in a table": {"rows": np.array([[1, 5, 7]], np.int32)},
    "rows twice": {"rows": np.array([1, 1, 7], np.int32)},
    "row below the table": {"rows": np.array([-1, 5, 7], np.int32)},
    "row beyond the table": {"rows": np.array([1, 5, _SIZE], np.int32)},
    "too few weights": {"weights": np.ones((2, _LABELS), np.float32)},
    "other labels": {"weights": np.ones((3, _LABELS + 1), np.float32)},
    "double weights": {"weights": np.ones((3, _LABELS), np.float64)},
    "flat weights": {"weights": np.ones(3 * _LABELS, np.float32)},
    "too many frequencies": {"frequency": np.ones(4, np.float32)},
    "negative frequency": {"frequency": np.array([1, -2, 3], np.float32)},
    "bias of other labels": {"bias": np.zeros(_LABELS - 1, np.float32)},
    "documents of another type": {"documents": np.array([3], np.int64)},
    "documents without a dimension": {"documents": np.array(3, np.float32)},
    "negative documents": {"documents": np.array([-1], np.float32)},
}
broken = pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN.keys())


def spoilt(change: dict[str, npt.NDArray[Any] | None]) -> dict[str, npt.NDArray[Any]]:
    return {name: array for name, array in (sound() | change).items() if array is not None}


def test_what_fits_is_accepted() -> None:
    rows, weights, frequency, bias, documents = check(sound(), _SIZE, _LABELS)
    assert rows.tolist() == [1, 5, 7]
    assert (weights.shape, frequency.shape, bias.shape, documents) == ((3, 3), (3,), (3,), 3.0)


def test_the_order_of_the_rows_means_nothing() -> None:
    words = [f"w{i} w{i + 1}" for i in range(_SIZE)]
    told = sound() | {"weights": np.arange(9, dtype=np.float32).reshape(3, 3)}
    says = []
    for kept in ([0, 1, 2], [2, 0, 1]):
        by_row = {name: told[name][kept] for name in ("rows", "weights", "frequency")}
        learner = LinearLearner(LinearSettings(features=_FEATURES), 3, 0)
        learner.adopt(told | by_row)
        says.append(learner.predict(words))
    assert np.array_equal(*says)
    assert says[0].std() > 0


@broken
def test_what_does_not_fit_is_refused(change: dict[str, npt.NDArray[Any] | None]) -> None:
    with pytest.raises(TensorMismatch, match="Operator action"):
        check(spoilt(change), _SIZE, _LABELS)


@broken
def test_a_learner_that_refuses_stays_what_it_was(
    change: dict[str, npt.NDArray[Any] | None],
) -> None:
    learner = LinearLearner(LinearSettings(features=_FEATURES), _LABELS, seed=0)
    learner.learn(["one two"], [0])
    before = learner.snapshot()
    with pytest.raises(TensorMismatch):
        learner.adopt(spoilt(change))
    assert equal(learner.snapshot(), before)

"""The ONNX graph, against numpy, and the swap of its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from operators.levels.features import NgramHasher
from operators.levels.linear import LinearLearner
from operators.levels.linear_onnx import LinearLevel, build_graph
from operators.levels.regression import softmax
from operators.levels.tfidf import tfidf
from operators.settings import FeatureSettings, LinearSettings
from tests.operators.levels import checks
from tests.operators.levels.checks import Pair
from tests.operators.levels.test_linear import broken, spoilt

_FEATURES = FeatureSettings(bits=8, words=1, characters=None)
_SETTINGS = LinearSettings(features=_FEATURES)


def release(seed: int, labels: int = 3) -> dict[str, npt.NDArray[Any]]:
    """Random weights for every row of the table."""
    random = np.random.default_rng(seed)
    size = 1 << _FEATURES.bits
    return {
        "rows": np.arange(size, dtype=np.int32),
        "weights": random.normal(size=(size, labels)).astype(np.float32) * 5,
        "frequency": random.integers(0, 20, size).astype(np.float32),
        "bias": random.normal(size=labels).astype(np.float32),
        "documents": np.array([20], np.float32),
    }


def by_hand(tensors: dict[str, npt.NDArray[Any]], text: str) -> npt.NDArray[np.float64]:
    counts = NgramHasher(_FEATURES)([text])
    values = tfidf(counts, tensors["frequency"], 20).astype(np.float64)
    return softmax(values @ tensors["weights"][counts.indices] + tensors["bias"])


@pytest.mark.parametrize("labels", [2, 3, 7])
def test_the_graph_computes_the_formula(labels: int) -> None:
    tensors = release(1, labels)
    level = LinearLevel(_SETTINGS, labels)
    level.swap(level.stage(tensors))
    texts = ["one", "one two three", "", "two two two", *(f"w{i} w{i + 1}" for i in range(40))]
    expected = np.array([by_hand(tensors, text) for text in texts])
    assert np.abs(level.predict(texts) - expected).max() < 1e-5


def test_swapping_serves_each_release_whole() -> None:
    releases = [release(seed) for seed in range(3)]
    level = LinearLevel(_SETTINGS, 3)
    staged = [level.stage(tensors) for tensors in releases]
    for number in (0, 2, 1, 0):
        level.swap(staged[number])
        assert level.predict(["a b"])[0] == pytest.approx(
            by_hand(releases[number], "a b"), abs=1e-5
        )


def test_what_is_served_does_not_follow_the_tensors_it_came_from() -> None:
    tensors = release(0)
    level = LinearLevel(_SETTINGS, 3)
    level.swap(level.stage(tensors))
    before = level.predict(["a b c"])
    for array in tensors.values():
        array[:] = 0
    assert np.array_equal(level.predict(["a b c"]), before)


def test_read_only_tensors_of_a_release_can_be_staged() -> None:
    tensors = release(0)
    for array in tensors.values():
        array.setflags(write=False)
    level = LinearLevel(_SETTINGS, 3)
    level.swap(level.stage(tensors))
    assert level.predict(["a"])[0] == pytest.approx(by_hand(tensors, "a"), abs=1e-5)


@broken
def test_what_does_not_fit_leaves_the_old_weights_serving(
    change: dict[str, npt.NDArray[Any] | None],
) -> None:
    pair = Pair(
        learner=lambda seed: LinearLearner(_SETTINGS, 3, seed),
        level=lambda: LinearLevel(_SETTINGS, 3),
    )
    checks.check_what_does_not_fit_is_refused(pair, spoilt(change))


def test_the_graph_is_a_sound_model_without_weights_of_its_own() -> None:
    model = onnx.load_from_string(build_graph(4))
    onnx.checker.check_model(model, full_check=True)
    assert not model.graph.initializer
    assert {node.name for node in model.graph.input} == {
        "slot", "value", "row", "start", "weights", "bias"
    }  # fmt: skip

"""The paper's caches: when the inner learner is taught, and with what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.levels.cached import CachedLearner
from operators.levels.port import Probabilities, Tensors


@dataclass
class Notebook:
    """A `Learner` that writes down what it is taught."""

    name: str = "notebook"
    lessons: list[list[tuple[str, int]]] = field(default_factory=list)

    @property
    def updates(self) -> int:
        return len(self.lessons)

    def predict(self, texts: Sequence[str]) -> Probabilities:
        return np.full((len(texts), 2), 0.5)

    def learn(self, texts: Sequence[str], labels: Sequence[int]) -> None:
        self.lessons.append(list(zip(texts, labels, strict=True)))

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        return {"lessons": np.array([len(self.lessons)])}

    def adopt(self, tensors: Tensors) -> None:
        self.lessons = []

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        return self.tensors()

    def restore(self, snapshot: Tensors) -> None:
        self.lessons = [[] for _ in range(int(snapshot["lessons"][0]))]


def stream(count: int) -> list[tuple[str, int]]:
    return [(f"t{number}", number % 2) for number in range(count)]


def teach(learner: CachedLearner, examples: Sequence[tuple[str, int]]) -> None:
    learner.learn([text for text, _ in examples], [label for _, label in examples])


@given(size=st.integers(1, 9), chunks=st.lists(st.integers(0, 12), max_size=8))
def test_full_caches_are_taught_in_order_whatever_the_chunks(size: int, chunks: list[int]) -> None:
    inner = Notebook()
    learner = CachedLearner(inner, size, aggregate=False, seed=0)
    examples, at = stream(sum(chunks)), 0
    for chunk in chunks:
        teach(learner, examples[at : at + chunk])
        at += chunk
        assert learner.updates == len(inner.lessons) == at // size
    full = len(examples) // size
    assert inner.lessons == [examples[i * size : (i + 1) * size] for i in range(full)]


def test_the_whole_of_d_is_drawn_from_when_aggregated() -> None:
    inner = Notebook()
    learner = CachedLearner(inner, 4, aggregate=True, seed=0)
    examples = stream(200)
    teach(learner, examples)
    assert learner.updates == 50
    taught = [one for lesson in inner.lessons for one in lesson]
    assert len(taught) == 2 * len(examples) - 1  # one old beside each new, none for the first
    assert [one for one in examples if one in taught] == examples
    seen: set[tuple[str, int]] = set()
    early = 0
    for lesson in inner.lessons:
        seen |= set(lesson)
        assert set(lesson) <= set(examples[: len(seen)])
        early += sum(one in examples[:50] for one in lesson)
    assert early > 100  # the first quarter of D goes on being learned


@pytest.mark.parametrize("aggregate", [False, True])
def test_a_half_full_cache_survives_a_restore(*, aggregate: bool) -> None:
    steady_inner, restored_inner = Notebook(), Notebook()
    steady = CachedLearner(steady_inner, 4, aggregate=aggregate, seed=0)
    teach(steady, stream(10))
    restored = CachedLearner(restored_inner, 4, aggregate=aggregate, seed=1)
    teach(restored, [("an earlier life", 0)] * 3)
    restored.restore(steady.snapshot())
    assert restored.updates == steady.updates == 2
    for learner in (steady, restored):
        teach(learner, stream(30)[10:])
    assert restored.updates == steady.updates == 7
    assert restored_inner.lessons[2:] == steady_inner.lessons[2:]


def test_the_cache_is_learned_on_top_of_adopted_weights() -> None:
    inner = Notebook()
    learner = CachedLearner(inner, 4, aggregate=False, seed=0)
    teach(learner, stream(6))
    learner.adopt({"updates": np.array([1], np.int64)})
    teach(learner, stream(8)[6:])
    assert inner.lessons == [stream(8)[4:]]


def test_texts_and_labels_must_come_in_pairs() -> None:
    learner = CachedLearner(Notebook(), 4, aggregate=False, seed=0)
    with pytest.raises(ValueError, match="shorter"):
        learner.learn(["a", "b"], [0])

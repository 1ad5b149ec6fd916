"""The memory: bounded, uniform, and the same after a restore."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.levels.encoder.memory import Memory


def filled(capacity: int, seed: int, labels: list[int], *, texts: bool = True) -> Memory:
    """A memory that took in examples whose embedding and text tell their number."""
    memory = Memory(2, capacity, seed, texts=texts)
    for number, label in enumerate(labels):
        memory.take_in(f"t{number}", np.array([number, -number], np.float32), label)
    return memory


@settings(max_examples=60, deadline=None)
@given(
    capacity=st.integers(1, 150),
    seed=st.integers(0, 2**70),
    labels=st.lists(st.integers(0, 3), max_size=200),
)
def test_what_is_held_belongs_together(capacity: int, seed: int, labels: list[int]) -> None:
    memory = filled(capacity, seed, labels)
    assert len(memory) == min(capacity, len(labels))
    slots = np.arange(len(memory))
    numbers = memory.embeddings(slots)[:, 0].astype(int).tolist()
    assert len(set(numbers)) == len(numbers)
    assert memory.texts(slots) == [f"t{number}" for number in numbers]
    assert memory.labels(slots).tolist() == [labels[number] for number in numbers]


@settings(max_examples=40, deadline=None)
@given(
    capacity=st.integers(1, 20),
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    cut=st.integers(0, 40),
)
def test_a_restored_memory_goes_on_alike(capacity: int, labels: list[int], cut: int) -> None:
    steady, restored = filled(capacity, 7, labels[:cut]), filled(capacity, 8, [3] * 50)
    restored.restore(steady.snapshot())
    for number, label in enumerate(labels[cut:]):
        embedding = np.array([number, 1], np.float32)
        ours = steady.take_in("x", embedding, label)
        theirs = restored.take_in("x", embedding, label)
        assert ours.slot == theirs.slot
        assert ours.random.integers(1 << 60) == theirs.random.integers(1 << 60)
    assert {k: v.tobytes() for k, v in steady.snapshot().items()} == {
        k: v.tobytes() for k, v in restored.snapshot().items()
    }


def test_every_example_is_kept_with_the_same_probability() -> None:
    kept: Counter[int] = Counter()
    runs, capacity, stream = 600, 5, 20
    for seed in range(runs):
        memory = filled(capacity, seed, list(range(stream)), texts=False)
        kept.update(memory.labels(np.arange(capacity)).tolist())
    expected = runs * capacity / stream  # 150, standard deviation 10.6
    assert all(abs(kept[number] - expected) < 5 * 10.6 for number in range(stream))


def test_even_draws_see_a_rare_label_as_often_as_the_others() -> None:
    memory = filled(1000, 0, [0] * 480 + [1] * 10 + [2] * 10)
    drawn = memory.labels(memory.evenly(3000, np.random.default_rng(0)))
    assert np.bincount(drawn) == pytest.approx(np.full(3, 1000), abs=130)


def test_refreshing_replaces_embeddings_alone() -> None:
    memory = filled(10, 0, [0, 1, 2])
    memory.refresh(np.array([1]), np.array([[9, 9]], np.float32))
    assert memory.embeddings(np.arange(3)).tolist() == [[0, 0], [9, 9], [2, -2]]
    assert memory.labels(np.arange(3)).tolist() == [0, 1, 2]


def test_forgetting_starts_the_stream_anew() -> None:
    memory = filled(10, 0, [0] * 30)
    memory.forget()
    assert (len(memory), memory.seen) == (0, 0)
    fresh = Memory(2, 10, 0, texts=True).snapshot()
    assert {k: v.tobytes() for k, v in memory.snapshot().items()} == {
        k: v.tobytes() for k, v in fresh.items()
    }

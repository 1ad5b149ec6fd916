"""The memory: bounded, uniform, and the same after a restore."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.levels.encoder.memory import Memory

LABELS = 4


def filled(capacity: int, seed: int, labels: list[int], *, texts: bool = True) -> Memory:
    """A memory that took in examples whose embedding and text tell their number."""
    memory = Memory(2, LABELS, capacity, seed, texts=texts)
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
        steady.take_in("x", embedding, label)
        restored.take_in("x", embedding, label)
        assert steady.random().integers(1 << 60) == restored.random().integers(1 << 60)
    assert {k: v.tobytes() for k, v in steady.snapshot().items()} == {
        k: v.tobytes() for k, v in restored.snapshot().items()
    }


@settings(max_examples=60, deadline=None)
@given(
    capacity=st.integers(LABELS, 30),
    seed=st.integers(0, 99),
    labels=st.lists(st.integers(0, LABELS - 1), max_size=120),
)
def test_no_label_loses_examples_while_another_holds_more(
    capacity: int, seed: int, labels: list[int]
) -> None:
    memory = filled(capacity, seed, labels, texts=False)
    held = np.bincount(memory.labels(np.arange(len(memory))), minlength=LABELS)
    seen = np.bincount(labels, minlength=LABELS)
    fair = capacity // LABELS
    assert all(h >= min(s, fair) for h, s in zip(held, seen, strict=True))


@pytest.mark.parametrize("rare_first", [True, False])
def test_among_one_label_every_example_is_kept_with_the_same_probability(
    *, rare_first: bool
) -> None:
    rare, common = [0] * 8, [1] * 24
    stream = [*rare, *common] if rare_first else [*common[:12], *rare, *common[12:]]
    runs, capacity = 600, 12
    kept: Counter[int] = Counter()
    for seed in range(runs):
        memory = filled(capacity, seed, stream)
        kept.update(int(text[1:]) for text in memory.texts(np.arange(capacity)))
    for label in (0, 1):
        numbers = [number for number, one in enumerate(stream) if one == label]
        expected = sum(kept[number] for number in numbers) / len(numbers)
        spread = np.sqrt(expected * (1 - expected / runs))
        assert all(abs(kept[number] - expected) < 5 * spread + 1 for number in numbers)
    assert sum(kept[n] for n, label in enumerate(stream) if label == 0) == runs * 6


def test_even_draws_see_a_rare_label_as_often_as_the_others() -> None:
    memory = filled(1000, 0, [0] * 480 + [1] * 10 + [2] * 10)
    drawn = memory.labels(memory.evenly((3000,), np.random.default_rng(0)))
    assert np.bincount(drawn) == pytest.approx(np.full(3, 1000), abs=130)


@pytest.mark.parametrize("capacity", [1000, 90])
def test_weights_know_what_the_memory_let_go(capacity: int) -> None:
    memory = filled(capacity, 0, [0] * 480 + [1] * 40 + [3] * 80)
    labels, weights = memory.labels(np.arange(len(memory))), memory.weights()
    stands_for = np.bincount(labels, weights=weights, minlength=LABELS)
    assert stands_for == pytest.approx([480, 40, 0, 80])
    assert weights.min() >= 1


def test_refreshing_replaces_embeddings_alone() -> None:
    memory = filled(10, 0, [0, 1, 2])
    memory.refresh([1, 2], ["t1", "since replaced"], np.array([[9, 9], [9, 9]], np.float32))
    assert memory.embeddings(np.arange(3)).tolist() == [[0, 0], [9, 9], [2, -2]]
    assert memory.labels(np.arange(3)).tolist() == [0, 1, 2]


def test_forgetting_starts_the_stream_anew() -> None:
    memory = filled(10, 0, [0] * 30)
    memory.forget()
    assert (len(memory), memory.seen) == (0, 0)
    fresh = Memory(2, LABELS, 10, 0, texts=True).snapshot()
    assert {k: v.tobytes() for k, v in memory.snapshot().items()} == {
        k: v.tobytes() for k, v in fresh.items()
    }

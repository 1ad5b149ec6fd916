"""Reservoir sampling: bounded, uniform, drawn from earlier examples alone, restorable."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from operators.levels.buffer import ReplayBuffer


@settings(max_examples=50, deadline=None)
@given(
    capacity=st.integers(1, 12),
    seed=st.integers(0, 5),
    examples=st.lists(
        st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 3)), max_size=40
    ),
    count=st.integers(0, 6),
)
def test_draws_are_earlier_examples_and_never_too_many(
    capacity: int, seed: int, examples: list[tuple[str, int]], count: int
) -> None:
    buffer = ReplayBuffer(capacity, seed)
    for number, (text, label) in enumerate(examples):
        held = len(buffer)
        drawn = buffer.exchange(text, label, count)
        assert held == min(number, capacity)
        assert len(drawn) == min(count, held)
        assert set(drawn) <= set(examples[:number])
    assert len(buffer) == min(len(examples), capacity)


def test_every_example_is_kept_with_the_same_probability() -> None:
    kept: Counter[int] = Counter()
    runs, capacity, stream = 1500, 5, 20
    for seed in range(runs):
        buffer = ReplayBuffer(capacity, seed)
        for number in range(stream):
            buffer.exchange("", number, 0)
        kept.update(label for _, label in buffer._examples)
    expected = runs * capacity / stream  # 375, standard deviation 17
    assert all(abs(kept[number] - expected) < 5 * 17 for number in range(stream))


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 30), seed=st.integers(0, 9), capacity=st.integers(1, 8))
def test_a_restored_buffer_draws_what_the_other_would_have(
    cut: int, seed: int, capacity: int
) -> None:
    steady = ReplayBuffer(capacity, seed)
    for number in range(cut):
        steady.exchange(f"é{number}", number, 2)
    restored = ReplayBuffer(capacity, seed + 1)
    restored.exchange("an earlier life", 9, 1)
    restored.restore(steady.snapshot())
    for number in range(cut, cut + 20):
        assert restored.exchange("x", number, 3) == steady.exchange("x", number, 3)


def test_a_snapshot_does_not_follow_the_buffer() -> None:
    buffer = ReplayBuffer(3, 0)
    buffer.exchange("a", 0, 0)
    before = {key: value.tobytes() for key, value in buffer.snapshot().items()}
    snapshot = buffer.snapshot()
    buffer.exchange("b", 1, 1)
    assert {key: value.tobytes() for key, value in snapshot.items()} == before

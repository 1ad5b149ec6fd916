"""What is held out: nothing is lost, nothing is learned twice, nothing too early."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.core.holdout import Holdout
from operators.records import Annotation, Reason
from operators.settings import PromotionSettings

GATE = PromotionSettings(holdout=0.3, window=16, least=2)
chunks = st.lists(st.integers(0, 12), max_size=20)


def annotations(count: int, start: int = 0, score: float | None = 0.5) -> list[Annotation]:
    return [
        Annotation(f"e{i}", f"text {i}", i % 3, None, Reason.POLICY, 1.0, score)
        for i in range(start, start + count)
    ]


def admit(holdout: Holdout, sizes: Sequence[int], start: int = 0) -> list[Annotation]:
    learned = []
    for size in sizes:
        learned += holdout.admit(annotations(size, start))
        start += size
    return learned


@given(chunks, st.integers(0, 5))
def test_each_annotation_is_learned_once_or_held(sizes: list[int], seed: int) -> None:
    holdout = Holdout(GATE, seed)
    learned = admit(holdout, sizes)
    assert len(holdout) <= GATE.window
    assert sorted([a.text for a in learned] + holdout.texts) == sorted(
        a.text for a in annotations(sum(sizes))
    )
    assert len(holdout.labels) == len(holdout.texts) == len(holdout)


@given(chunks, chunks, st.integers(0, 5))
def test_chunks_do_not_matter_and_a_snapshot_goes_on(
    first: list[int], second: list[int], seed: int
) -> None:
    steady, restored, other = (Holdout(GATE, s) for s in (seed, seed, seed + 1))
    learned = admit(steady, first)
    if learned:
        steady.serve(np.linspace(0, 1, len(steady)))
    admit(other, [9, 9, 9])
    other.restore(steady.snapshot())
    assert other.snapshot() == steady.snapshot()
    other = Holdout(GATE, seed)
    other.restore(steady.snapshot())
    start = sum(first)
    assert admit(steady, second, start) == admit(other, second, start)
    assert steady.snapshot() == other.snapshot()
    # In one chunk, the same are held out.
    restored.admit(annotations(sum(first) + sum(second)))
    assert restored.texts == steady.texts


def test_the_share_is_what_it_says_and_knows_nothing_but_the_id() -> None:
    wide = PromotionSettings(holdout=0.1, window=4096, least=2)
    one, other = Holdout(wide, 0), Holdout(wide, 0)
    one.admit(annotations(5000))
    assert 430 <= len(one) <= 570
    relabelled = [
        Annotation(a.event_id, "another text", 0, 1, Reason.AUDIT, 0.02) for a in annotations(5000)
    ]
    learned = {a.event_id for a in other.admit(relabelled)}
    held = {a.event_id for a in annotations(5000)} - learned
    assert {f"e{text.removeprefix('text ')}" for text in one.texts} == held


def test_the_oldest_leaves_first_and_old_ones_stay_long() -> None:
    holdout = Holdout(PromotionSettings(holdout=0.1, window=16, least=2), 0)
    learned = holdout.admit(annotations(1000))
    numbers = [int(text.removeprefix("text ")) for text in holdout.texts]
    assert numbers == sorted(numbers)
    assert numbers[0] < 1000 - 16 / 0.1 / 2
    order = [int(a.event_id[1:]) for a in learned]
    assert order != sorted(order)  # what left was learned out of turn, after all


@settings(max_examples=20)
@given(st.integers(2, 16))
def test_the_head_is_known_by_what_was_served_or_by_what_it_is_told(known: int) -> None:
    holdout = Holdout(PromotionSettings(holdout=0.5, window=16, least=known), 0)
    holdout.admit(annotations(100, score=None))
    candidate = np.full(len(holdout), 0.5)
    assert holdout.rule(candidate) is None  # nothing served when these came
    holdout.serve(candidate)
    ruling = holdout.rule(candidate)
    assert ruling is not None
    assert (ruling.annotations, ruling.lower) == (16, 0)
    holdout.admit(annotations(100, 100, score=1.0))
    ruling = holdout.rule(candidate)
    assert ruling is not None
    assert (ruling.head, ruling.promoted) == (1.0, False)

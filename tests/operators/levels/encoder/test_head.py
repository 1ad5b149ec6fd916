"""The head's fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from model_store.errors import TensorMismatch
from operators.levels.encoder import parts
from operators.levels.encoder.head import Head

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.intp]


def examples(count: int, labels: int = 3, dimension: int = 5) -> tuple[FloatArray, IntArray]:
    """Noisy clusters off the origin, of unequal spread along their axes."""
    random = np.random.default_rng(0)
    answers = random.integers(labels, size=count)
    centres = np.random.default_rng(1).normal(size=(labels, dimension))
    spread = np.linspace(0.2, 4, dimension)
    points = 7 + spread * (centres[answers] + random.normal(size=(count, dimension)))
    return points.astype(np.float32), answers


def test_a_fit_is_the_penalised_optimum_on_scaled_embeddings() -> None:
    inputs, answers = examples(200)
    l2, dimension = 0.5, inputs.shape[1]
    head = Head(dimension, 3, l2)
    head.fit(inputs, answers)
    # 20 examples' worth of belief that entries spread as much as they are large
    variance = (200 * inputs.var(axis=0) + 20 * (inputs**2).mean()) / 220
    scaled = (inputs - inputs.mean(axis=0)) / np.sqrt(variance)
    # sklearn's penalty is 1 / C on the weights and none on the bias, where ours has a small one
    known = LogisticRegression(C=1 / (l2 * dimension), tol=1e-8, max_iter=1000).fit(scaled, answers)
    assert head.predict(inputs) == pytest.approx(known.predict_proba(scaled), abs=1e-2)


def test_a_fit_does_not_depend_on_where_it_starts() -> None:
    inputs, answers = examples(150)
    once, twice = Head(5, 3, 0.4), Head(5, 3, 0.4)
    once.fit(inputs, answers)
    twice.fit(inputs[:20], answers[:20])
    twice.fit(inputs, answers)
    assert twice.predict(inputs) == pytest.approx(once.predict(inputs), abs=2e-3)


@given(factor=st.floats(0.05, 20))
def test_a_fit_does_not_depend_on_the_scale_of_the_embeddings(factor: float) -> None:
    inputs, answers = examples(60)
    plain, moved = Head(5, 3, 0.4), Head(5, 3, 0.4)
    other = (inputs * factor).astype(np.float32)
    plain.fit(inputs, answers)
    moved.fit(other, answers)
    assert moved.predict(other) == pytest.approx(plain.predict(inputs), abs=5e-3)


def test_one_example_and_labels_not_met_leave_finite_probabilities() -> None:
    head = Head(5, 3, 0.4)
    inputs, answers = examples(1)
    head.fit(inputs, answers)
    opinion = head.predict(inputs)[0]
    assert opinion.argmax() == answers[0]
    assert opinion.min() > 1e-3
    more, _ = examples(50)
    head.fit(more, np.zeros(50, np.intp))
    assert np.all((head.predict(more)[:, 1:] > 0) & (head.predict(more)[:, 1:] < 0.2))


def test_few_examples_do_not_undo_what_was_adopted() -> None:
    inputs, answers = examples(400, dimension=40)
    taught = Head(40, 3, 0.4)
    taught.fit(inputs[:300], answers[:300])
    heir = Head(40, 3, 0.4)
    heir.adopt(taught.tensors())
    heir.fit(inputs[300:302], answers[300:302])
    right = [(h.predict(inputs[302:]).argmax(1) == answers[302:]).mean() for h in (taught, heir)]
    assert right[1] > right[0] - 0.05


def test_what_is_predicted_is_what_would_be_published() -> None:
    head = Head(5, 3, 0.4)
    inputs, answers = examples(40)
    head.fit(inputs, answers)
    heir = Head(5, 3, 0.4)
    heir.adopt(head.tensors())
    assert np.array_equal(heir.predict(inputs), head.predict(inputs))


def test_a_restored_head_fits_on_as_the_one_before() -> None:
    inputs, answers = examples(80)
    head = Head(5, 3, 0.4)
    head.fit(inputs[:30], answers[:30])
    head.adopt(head.tensors())
    heir = Head(5, 3, 0.4)
    heir.restore(head.snapshot())
    for one in (head, heir):
        one.fit(inputs, answers)
    assert np.array_equal(heir.predict(inputs), head.predict(inputs))


def test_a_weight_is_as_good_as_so_many_copies() -> None:
    inputs, answers = examples(40)
    weighted, copied = Head(5, 3, 0.4), Head(5, 3, 0.4)
    copies = np.where(answers == 0, 3, 1)
    # The scale is taken from the examples as they are: each stands in both, once more in one.
    weighted.fit(np.tile(inputs, (2, 1)), np.tile(answers, 2), np.tile(copies / 2, 2))
    copied.fit(np.tile(inputs, (2, 1)), np.tile(answers, 2), np.concatenate([copies, 0 * copies]))
    assert weighted.predict(inputs) == pytest.approx(copied.predict(inputs), abs=2e-3)


def layered(seed: int, *, told_by: int, count: int = 1200) -> tuple[FloatArray, IntArray]:
    """Embeddings of two parts, of which one alone tells the labels apart."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(count, 60)).astype(np.float32)
    telling = inputs[:, 30 * told_by : 30 * told_by + 6]
    logits = telling @ np.random.default_rng(2).normal(size=(6, 3))
    return inputs, (logits + 0.3 * random.normal(size=(count, 3))).argmax(1)


def first_counts(head: Head) -> float:
    """How much the first part counts, where the last counts 1."""
    return float(head.snapshot()["parts"][0])


@pytest.mark.parametrize(("told_by", "first"), [(0, 3), (1, 1 / 3)])
def test_the_part_that_tells_the_labels_apart_comes_to_count_more(
    told_by: int, first: float
) -> None:
    inputs, answers = layered(5, told_by=told_by)
    plain, weighing = Head(60, 3, 0.4), Head(60, 3, 0.4, parts=2)
    right = {}
    for count in (63, 64, 128):
        for head in (plain, weighing):
            head.fit(inputs[:count], answers[:count])
            right[head] = (head.predict(inputs[200:]).argmax(1) == answers[200:]).mean()
        same = np.array_equal(plain.predict(inputs), weighing.predict(inputs))
        assert same == (count == 63)  # too few to choose by
    assert first_counts(weighing) == first
    assert right[weighing] > right[plain] + 0.05


def test_parts_that_are_as_good_count_alike() -> None:
    inputs, answers = layered(5, told_by=0)
    twice = np.hstack([inputs[:, :30], inputs[:, :30]])
    plain, weighing = Head(60, 3, 0.4), Head(60, 3, 0.4, parts=2)
    for head in (plain, weighing):
        head.fit(twice[:300], answers[:300])
    assert weighing.predict(twice) == pytest.approx(plain.predict(twice), abs=1e-2)


def test_nearly_all_examples_of_one_label_leave_the_parts_alike() -> None:
    inputs, answers = layered(5, told_by=0, count=64)
    head = Head(60, 3, 0.4, parts=2)
    head.fit(inputs, np.where(np.arange(64) == 7, answers, 1))
    assert first_counts(head) == 1


def test_parts_are_weighed_by_what_examples_stand_for() -> None:
    by_first, by_last = layered(5, told_by=0, count=200), layered(6, told_by=1, count=200)
    inputs, answers = (np.concatenate(pair) for pair in zip(by_first, by_last, strict=True))
    chosen = []
    for share in (0.05, 20):
        head = Head(60, 3, 0.4, parts=2)
        head.fit(inputs, answers, np.repeat([1.0, share], 200))
        chosen.append(first_counts(head))
    assert chosen == [3, pytest.approx(1 / 3)]


def test_parts_are_weighed_anew_when_twice_as_many_were_seen() -> None:
    by_first, by_last = layered(5, told_by=0), layered(6, told_by=1)
    head = Head(60, 3, 0.4, parts=2)
    head.fit(by_first[0][:100], by_first[1][:100])
    stood_for = np.full(100, 1.98)  # a memory of 100 that saw 198
    head.fit(by_last[0][:100], by_last[1][:100], stood_for)
    assert first_counts(head) == 3
    head.fit(by_last[0][:100], by_last[1][:100], stood_for * 1.02)
    assert first_counts(head) == pytest.approx(1 / 3)


def test_the_weights_of_parts_outlast_a_restore_and_not_a_rollback() -> None:
    (inputs, answers), (other, others) = layered(5, told_by=1), layered(5, told_by=0)
    head, heir, back = (Head(60, 3, 0.4, parts=2) for _ in range(3))
    head.fit(inputs[:100], answers[:100])
    assert first_counts(head) == pytest.approx(1 / 3)
    heir.restore(head.snapshot())
    back.adopt(head.tensors())
    for one in (head, heir):
        one.fit(other[:120], others[:120])  # too few more to choose anew
    assert first_counts(heir) == first_counts(head) == pytest.approx(1 / 3)
    assert np.array_equal(heir.predict(inputs), head.predict(inputs))
    assert first_counts(back) == 1


def test_a_head_of_other_embeddings_is_refused_on_restore() -> None:
    head, other = Head(5, 3, 0.4), Head(6, 3, 0.4)
    other.fit(*examples(20, dimension=6))
    before = other.tensors()
    with pytest.raises(TensorMismatch, match="matrix"):
        other.restore(head.snapshot())
    assert all(np.array_equal(other.tensors()[name], before[name]) for name in before)


def test_a_choice_looks_at_a_bounded_number_of_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    plain = parts.log_losses

    def counting(matrix: Any, inputs: Any, *rest: Any) -> Any:
        read.append(len(inputs))
        return plain(matrix, inputs, *rest)

    monkeypatch.setattr(parts, "log_losses", counting)
    inputs, answers = layered(5, told_by=1, count=3000)
    Head(60, 3, 0.4, parts=2).fit(inputs, answers)
    assert sum(read) == 3 * 1024
    read.clear()
    wide = np.repeat(inputs[:500], 50, axis=1)
    Head(3000, 60, 0.4, parts=2).fit(wide, answers[:500])
    assert sum(read) == 3 * (16_000_000 // (3001 * 60))

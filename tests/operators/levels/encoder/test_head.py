"""The head's fits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

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

"""The laws of a small level and its learner; every implementation is held to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from model_store.errors import TensorMismatch
from operators.core.trainer import Trainer
from operators.levels.port import Learner, Level
from operators.policy.budgeted import BudgetedLearner
from operators.records import Annotation, Reason
from operators.settings import BudgetedSettings

LABELS = 3
PARITY = 1e-4  # between a learner's opinion and that of the served level
Lesson = Sequence[tuple[str, int]]

HOSTILE = {
    "empty": "",
    "spaces": " \t\r\n\u00a0\u2028",
    "one megabyte, no space": "a" * 1_000_000,
    "one megabyte, words": "ab " * 333_334,
    "controls": "".join(map(chr, range(32))) + "\x7f\x85",
    "NUL": "a\x00b\x00",
    "emoji": "\U0001f469\u200d\U0001f467\U0001f3f3\ufe0f\u200d\U0001f308 \U0001f1e9\U0001f1ea" * 50,
    "combining marks": "Z" + "\u0301\u0323\u0489" * 500,
    "right to left": "\u202e\u05e9\u05dc\u05d5\u05dd \u202d\u0645\u0631\u062d\u0628\u202c abc",
    "longer in lower case": "İ" * 300,
    "not a character": "\uffff\ufffe\U0010ffff",
    "lone surrogate": "a \ud83d b",
}
TEXTS = [
    "the quick brown fox",
    "the lazy dog, the lazy cat",
    "completely unrelated words!",
    "Ünïcödé größer 東京",
    "the quick brown fox",
    *HOSTILE.values(),
]
TOPICS = (("good fine great nice", 0), ("bad awful poor sad", 1), ("meh okay plain dull", 2))


@dataclass(frozen=True)
class Pair:
    """How to make one implementation's two halves."""

    learner: Callable[[int], Learner]  # by seed
    level: Callable[[], Level]
    neighbours: float = 0.0  # most that the others of a batch may move a served probability


def toy_stream(count: int, seed: int = 0) -> list[tuple[str, int]]:
    """A stream that words alone separate: three topics, two words a text."""
    random = np.random.default_rng(seed)
    stream = []
    for choice in random.integers(len(TOPICS), size=count):
        words, label = TOPICS[choice]
        stream.append((" ".join(random.choice(words.split(), 2)), label))
    return stream


def teach(learner: Learner, lesson: Lesson, chunk: int = 7) -> None:
    """Have a learner learn a stream in chunks."""
    for start in range(0, len(lesson), chunk):
        part = lesson[start : start + chunk]
        learner.learn([text for text, _ in part], [label for _, label in part])


def serve(level: Level, learner: Learner) -> Level:
    """Have the level serve what the learner would publish."""
    level.swap(level.stage(learner.tensors()))
    return level


def taught(pair: Pair, seed: int = 0) -> Learner:
    """A learner that has seen something of everything."""
    learner = pair.learner(seed)
    teach(learner, [*toy_stream(40), *((text, i % LABELS) for i, text in enumerate(TEXTS[:5]))])
    return learner


def equal(a: dict[str, npt.NDArray[Any]], b: dict[str, npt.NDArray[Any]]) -> bool:
    """Whether two sets of named arrays are the same to the bit."""
    return a.keys() == b.keys() and all(
        a[key].dtype == b[key].dtype and np.array_equal(a[key], b[key]) for key in a
    )


def trainer_of(learner: Learner) -> Trainer:
    """A trainer with this learner alone; snapshots travel through its bytes."""
    return Trainer([learner], BudgetedLearner(BudgetedSettings(), 1))


def annotate(lesson: Lesson) -> list[Annotation]:
    """The annotations of a lesson."""
    return [
        Annotation(f"e{i}", text, label, None, Reason.POLICY, 1.0)
        for i, (text, label) in enumerate(lesson)
    ]


def check_uniform_before_the_first_release(pair: Pair) -> None:
    level = pair.level()
    assert np.array_equal(level.predict(["a", "b"]), np.full((2, LABELS), 1 / LABELS))
    assert pair.learner(0).predict(["a"]) == pytest.approx(np.full((1, LABELS), 1 / LABELS))


def check_asking_again_gives_the_same(pair: Pair) -> None:
    learner = taught(pair)
    for texts in (TEXTS[:5], TEXTS[2:], [*TEXTS[:3], *TEXTS[:3]], TEXTS[:1]):
        again = learner.predict_again(texts)
        assert again == pytest.approx(learner.predict(texts), abs=PARITY)
    teach(learner, toy_stream(20, 1))
    assert learner.predict_again(TEXTS) == pytest.approx(learner.predict(TEXTS), abs=PARITY)


def check_no_texts_no_rows(pair: Pair) -> None:
    learner = taught(pair)
    assert learner.predict([]).shape == (0, LABELS)
    assert serve(pair.level(), learner).predict([]).shape == (0, LABELS)
    before = learner.snapshot()
    learner.learn([], [])
    assert equal(before, learner.snapshot())


def check_predict_does_not_mutate(pair: Pair) -> None:
    learner = taught(pair)
    level = serve(pair.level(), learner)
    before, served = learner.snapshot(), level.predict(TEXTS)
    learner.predict(TEXTS)
    level.predict([*TEXTS, "more"])
    assert equal(before, learner.snapshot())
    assert np.array_equal(served, level.predict(TEXTS))


def check_rows_are_distributions(pair: Pair) -> None:
    learner = taught(pair)
    for rows in (learner.predict(TEXTS), serve(pair.level(), learner).predict(TEXTS)):
        assert rows.shape == (len(TEXTS), LABELS)
        assert rows.dtype == np.float64
        assert (rows >= 0).all()
        assert rows.sum(axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)


def check_a_row_depends_on_its_own_text_alone(pair: Pair) -> None:
    learner = taught(pair)
    level = serve(pair.level(), learner)
    batch, learned = level.predict(TEXTS), learner.predict(TEXTS)
    for row, text in enumerate(TEXTS):
        assert np.abs(level.predict([text])[0] - batch[row]).max() <= pair.neighbours
        limit = max(pair.neighbours, 1e-9)
        assert learner.predict([text])[0] == pytest.approx(learned[row], abs=limit)
    backwards = level.predict(TEXTS[::-1])
    assert np.abs(backwards[::-1] - batch).max() <= pair.neighbours


def check_what_is_served_is_what_was_learned(pair: Pair) -> None:
    learner = taught(pair)
    level = serve(pair.level(), learner)
    assert np.abs(level.predict(TEXTS) - learner.predict(TEXTS)).max() < PARITY


def check_tensors_are_copies(pair: Pair) -> None:
    learner = taught(pair)
    level, published = pair.level(), learner.tensors()
    level.swap(level.stage(published))
    before, frozen = level.predict(TEXTS), {key: value.copy() for key, value in published.items()}
    teach(learner, toy_stream(30, seed=5))
    assert equal(published, frozen)
    assert np.array_equal(level.predict(TEXTS), before)


def check_staging_changes_nothing_until_the_swap(pair: Pair) -> None:
    learner = taught(pair)
    level = serve(pair.level(), learner)
    before = level.predict(TEXTS)
    teach(learner, toy_stream(60, seed=3))
    staged = level.stage(learner.tensors())
    assert np.array_equal(level.predict(TEXTS), before)
    level.swap(staged)
    assert np.abs(level.predict(TEXTS) - learner.predict(TEXTS)).max() < PARITY


def check_same_seed_same_weights(pair: Pair) -> None:
    assert equal(taught(pair, seed=3).snapshot(), taught(pair, seed=3).snapshot())


def check_adopting_serves_the_same_and_learns_on(pair: Pair) -> None:
    learner = taught(pair)
    heir = pair.learner(9)
    teach(heir, [("something else", 1)] * 20)
    heir.adopt(learner.tensors())
    assert np.array_equal(heir.predict(TEXTS), learner.predict(TEXTS))
    assert equal(heir.tensors(), learner.tensors())
    teach(heir, [("something new", 2)] * 40)
    assert heir.predict(["something new"])[0].argmax() == 2


def check_learning_improves(pair: Pair) -> None:
    learner = pair.learner(0)
    stream = toy_stream(320, seed=1)
    truth = [label for _, label in stream[240:]]
    teach(learner, stream[:240], chunk=8)
    says = serve(pair.level(), learner).predict([text for text, _ in stream[240:]])
    assert np.mean(says.argmax(axis=1) == truth) > 0.9


def check_a_snapshot_goes_on_as_if_never_stopped(
    pair: Pair, lessons: Sequence[Lesson], cut: int
) -> None:
    steady, first = trainer_of(pair.learner(1)), trainer_of(pair.learner(1))
    for lesson in lessons[:cut]:
        steady.learn(annotate(lesson), len(lesson))
        first.learn(annotate(lesson), len(lesson))
    # A restored object may have lived: nothing of that life may show.
    second = trainer_of(pair.learner(2))
    second.learn(annotate([("an earlier life", 1)] * 9), 9)
    second.restore(first.snapshot())
    assert second.snapshot() == first.snapshot()
    for lesson in lessons[cut:]:
        steady.learn(annotate(lesson), len(lesson))
        second.learn(annotate(lesson), len(lesson))
    assert equal(steady.tensors(), second.tensors())
    assert steady.snapshot() == second.snapshot()


def check_hostile_text(pair: Pair, text: str) -> None:
    learner = taught(pair)
    teach(learner, [(text, 1)] * 3)
    for rows in (learner.predict([text]), serve(pair.level(), learner).predict([text])):
        assert np.isfinite(rows).all()
        assert rows.sum() == pytest.approx(1, abs=1e-5)


def check_what_does_not_fit_is_refused(pair: Pair, broken: dict[str, npt.NDArray[Any]]) -> None:
    level = serve(pair.level(), taught(pair))
    before = level.predict(TEXTS)
    with pytest.raises(TensorMismatch, match="Operator action"):
        level.stage(broken)
    assert np.array_equal(level.predict(TEXTS), before)


LAWS: Sequence[Callable[[Pair], None]] = (
    check_uniform_before_the_first_release,
    check_no_texts_no_rows,
    check_asking_again_gives_the_same,
    check_predict_does_not_mutate,
    check_rows_are_distributions,
    check_a_row_depends_on_its_own_text_alone,
    check_what_is_served_is_what_was_learned,
    check_tensors_are_copies,
    check_staging_changes_nothing_until_the_swap,
    check_same_seed_same_weights,
    check_adopting_serves_the_same_and_learns_on,
    check_learning_improves,
)

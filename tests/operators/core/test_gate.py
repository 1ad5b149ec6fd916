"""The ruling: fair scores, a candidate's and the head's, and how sure one can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.core.gate import Ruling, Scores, quadratic, rule
from operators.settings import PromotionSettings

GATE = PromotionSettings(margin=0.05, confidence=0.9, window=64, least=16)
scores = st.lists(st.floats(0, 1), min_size=16, max_size=64).map(np.array)


def ruling(candidate: Scores, head: Scores, **changes: float) -> Ruling:
    made = rule(candidate, head, GATE.model_copy(update=changes))
    assert made is not None
    return made


def test_the_score_is_one_when_sure_and_right_and_zero_when_sure_and_wrong() -> None:
    opinions = np.array([[1.0, 0, 0], [0, 1, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]])
    assert quadratic(opinions, np.array([0, 0, 0, 2])) == pytest.approx([1, 0, 0.75, 2 / 3])


@given(st.floats(0, 1), st.floats(0, 1))
def test_no_one_scores_better_by_saying_other_than_believed(belief: float, said: float) -> None:
    def expected(say: float) -> float:
        both = quadratic(np.array([[say, 1 - say]] * 2), np.array([0, 1]))
        return float(belief * both[0] + (1 - belief) * both[1])

    assert expected(belief) >= expected(said) - 1e-12


@given(scores)
def test_the_same_weights_pass(same: Scores) -> None:
    made = ruling(same, same, margin=0.0)
    assert made.promoted
    assert made.reason is None
    assert made.lower == 0


@given(scores, st.data())
def test_what_is_needed_grows_with_confidence_and_shrinks_with_the_margin(
    candidate: Scores, data: st.DataObject
) -> None:
    head = np.array(data.draw(st.lists(st.floats(0, 1), min_size=len(candidate), max_size=64)))
    head = head[: len(candidate)]
    lax, strict = (ruling(candidate, head, confidence=c) for c in (0.5, 0.99))
    assert lax.lower == pytest.approx(lax.candidate - lax.head)
    assert strict.lower <= lax.lower
    assert strict.promoted <= ruling(candidate, head, confidence=0.99, margin=0.5).promoted


def test_a_candidate_that_is_worse_is_rejected_and_the_reason_says_by_how_much() -> None:
    head = np.linspace(0.5, 0.9, 40)
    made = ruling(head - 0.2, head)
    assert not made.promoted
    assert made.reason is not None
    for fact in ("scores 0.500 on 40 annotations", "the head 0.700", "90%", "by 0.200", "is 0.05"):
        assert fact in made.reason
    assert made.stats() == {
        "gate.annotations": 40,
        "gate.candidate": pytest.approx(0.5),
        "gate.head": pytest.approx(0.7),
        "gate.lower": pytest.approx(-0.2),
        "gate.margin": 0.05,
        "gate.confidence": 0.9,
    }


def test_few_and_contradictory_annotations_leave_doubt_and_many_do_not() -> None:
    better = np.tile([0.4, -0.4], 16)
    assert not ruling(0.5 + better, np.full(32, 0.5)).promoted
    many = np.tile(better, 40)
    assert ruling(0.5 + many, np.full(len(many), 0.5)).promoted


def test_what_the_head_is_not_known_to_score_does_not_count() -> None:
    head = np.full(20, 0.8)
    candidate = head.copy()
    candidate[:4], head[:4] = 0.0, np.nan
    made = ruling(candidate, head)
    assert (made.annotations, made.candidate, made.promoted) == (16, pytest.approx(0.8), True)
    head[4] = np.nan
    assert rule(candidate, head, GATE) is None
    assert rule(np.empty(0), np.empty(0), GATE) is None


def test_the_confidence_is_what_it_says() -> None:
    """Of candidates that are worse by just the margin, one in ten passes."""
    random = np.random.default_rng(0)
    passed = 0
    for _ in range(2000):
        head = random.uniform(0.3, 0.7, 50)
        passed += ruling(head + random.normal(-0.05, 0.1, 50), head).promoted
    assert passed / 2000 == pytest.approx(0.1, abs=0.02)

"""A text that a level fails on costs it its opinion of that text, and nothing else."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.levels.asking import PROBE, Predict, ask
from operators.levels.port import Probabilities
from tests.operators.fakes import UnreadableError, confident

BAD, NAN = "bad", "not a number"
TEXTS = st.lists(st.sampled_from([BAD, NAN, "a", "bb", "ccc"]), max_size=40)


def said(text: str) -> list[float]:
    return confident(0.5 + len(text) % 4 / 10, labels=3)


@dataclass
class Choosy:
    """Fails on a batch with a bad text in it, and has no number for another."""

    calls: list[list[str]] = field(default_factory=list)

    def __call__(self, texts: Sequence[str]) -> Probabilities:
        self.calls.append(list(texts))
        if BAD in texts:
            raise UnreadableError(texts)
        rows = [[math.nan] * 3 if text == NAN else said(text) for text in texts]
        return np.array(rows, np.float64).reshape(-1, 3)


@given(TEXTS)
def test_only_texts_that_fail_alone_have_no_opinion(texts: list[str]) -> None:
    level = Choosy()
    opinions = ask("level", level, texts)
    bad = [text in (BAD, NAN) for text in texts]
    assert opinions.given.tolist() == [not one for one in bad]
    assert opinions.missing == sum(bad)
    rows = [[1 / 3] * 3 if one else said(text) for one, text in zip(bad, texts, strict=True)]
    assert opinions.probabilities.tolist() == rows
    # A few bad texts among many do not cost a call for each text.
    deep = math.ceil(math.log2(max(len(texts), 1))) + 1
    assert len(level.calls) <= 1 + sum(bad) * (2 * deep + 1)


def test_without_a_failure_it_is_asked_once(caplog: pytest.LogCaptureFixture) -> None:
    level = Choosy()
    ask("level", level, ["a", "bb"])
    assert level.calls == [["a", "bb"]]
    assert not caplog.records


def test_the_log_tells_the_kind_and_the_number_and_no_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        ask("encoder", Choosy(), ["secret", BAD, NAN, "a"])
    (line,) = caplog.messages
    assert "encoder" in line
    assert "failed (FloatingPointError, UnreadableError)" in line
    assert "2 of the 4" in line
    assert not any(text in line for text in ("secret", BAD, NAN))
    assert caplog.records[0].exc_info is None


def test_what_fails_only_together_is_answered_one_by_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def cramped(texts: Sequence[str]) -> Probabilities:
        if len(texts) > 2:
            raise UnreadableError
        return np.array([said(text) for text in texts])

    texts = ["a", "bb", "ccc"] * 3
    opinions = ask("level", cramped, texts)
    assert opinions.given.all()
    assert opinions.probabilities.tolist() == [said(text) for text in texts]
    assert "0 of the 9" in caplog.text


class BrokenError(Exception):
    """The level's own failure."""


def broken(texts: Sequence[str]) -> Probabilities:
    raise BrokenError(texts)


def lost_after(calls: int) -> Predict:
    """Fails on a text, and soon on all of them: a GPU that is gone."""
    level = Choosy()

    def predict(texts: Sequence[str]) -> Probabilities:
        return level(texts) if len(level.calls) < calls else broken(texts)

    return predict


@pytest.mark.parametrize("texts", [["a"], ["a", "bb", BAD], []])
def test_a_level_that_fails_on_any_text_is_no_matter_of_texts(texts: list[str]) -> None:
    with pytest.raises(BrokenError) as raised:
        ask("level", broken, texts)
    assert raised.value.args == ([PROBE],)


@pytest.mark.parametrize("calls", [0, 1, 2, 4, 6])
def test_a_level_that_is_lost_in_between_is_no_matter_of_texts(calls: int) -> None:
    with pytest.raises(BrokenError):
        ask("level", lost_after(calls), [BAD, *"abcdefgh", BAD])


def test_numbers_that_are_never_finite_are_no_matter_of_texts() -> None:
    with pytest.raises(FloatingPointError):
        ask("level", lambda texts: np.full((len(texts), 3), np.nan), ["a", "b"])


@pytest.mark.parametrize("kind", [MemoryError, KeyboardInterrupt, SystemExit])
def test_what_says_nothing_about_a_text_is_raised_at_once(kind: type[BaseException]) -> None:
    calls: list[Sequence[str]] = []

    def predict(texts: Sequence[str]) -> Probabilities:
        calls.append(texts)
        raise kind

    with pytest.raises(kind):
        ask("level", predict, ["a", "b"])
    assert len(calls) == 1

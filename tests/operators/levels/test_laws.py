"""Every pair of a level and its learner, in several settings, is held to the laws of `checks`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.levels.cached import CachedLearner
from operators.levels.linear import LinearLearner
from operators.levels.linear_onnx import LinearLevel
from operators.settings import FeatureSettings, LinearSettings
from tests.operators.levels import checks
from tests.operators.levels.checks import HOSTILE, LABELS, LAWS, Pair

_WORDS = FeatureSettings(bits=10, characters=None)
_BOTH = FeatureSettings(bits=12, characters=(3, 5), max_chars=500)


def linear(settings: LinearSettings) -> Pair:
    return Pair(
        learner=lambda seed: LinearLearner(settings, LABELS, seed),
        level=lambda: LinearLevel(settings, LABELS),
    )


def cached(settings: LinearSettings, size: int, *, aggregate: bool) -> Pair:
    return Pair(
        learner=lambda seed: CachedLearner(
            LinearLearner(settings, LABELS, seed), size, aggregate, seed
        ),
        level=lambda: LinearLevel(settings, LABELS),
    )


_PLAIN = LinearSettings(features=_WORDS, replay=0)
PAIRS = {
    "adagrad, no replay": linear(_PLAIN),
    "adagrad, replay, characters": linear(LinearSettings(features=_BOTH, buffer=20)),
    "ogd, no replay": linear(
        LinearSettings(features=_WORDS, optimizer="ogd", rate=3, replay=0, l2=0.001)
    ),
    "ogd, replay, characters": linear(
        LinearSettings(features=_BOTH, optimizer="ogd", rate=3, buffer=20)
    ),
    "cached": cached(_PLAIN, 8, aggregate=False),
    "cached, aggregated D": cached(_PLAIN, 4, aggregate=True),
    "cached, replay": cached(LinearSettings(features=_WORDS, buffer=20), 3, aggregate=False),
}
pairs = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())

_LESSON = st.lists(
    st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.integers(0, 2)),
    max_size=6,
)


@pairs
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law(pair: Pair, law: Callable[[Pair], None]) -> None:
    law(pair)


@pairs
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text(pair: Pair, text: str) -> None:
    checks.check_hostile_text(pair, text)


@pairs
@settings(max_examples=15, deadline=None)
@given(lessons=st.lists(_LESSON, min_size=1, max_size=6), data=st.data())
def test_a_snapshot_goes_on_as_if_never_stopped(
    pair: Pair, lessons: list[list[tuple[str, int]]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(lessons)))
    checks.check_a_snapshot_goes_on_as_if_never_stopped(pair, lessons, cut)

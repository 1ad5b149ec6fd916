"""The encoder level is held to the laws of every level, with its head alone and with layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.levels.encoder.build import encoder_learner, encoder_level
from operators.levels.encoder.learning import EncoderLearner
from operators.levels.encoder.session import open_encoder
from operators.settings import EncoderSettings
from tests.operators.levels import checks
from tests.operators.levels.checks import HOSTILE, LABELS, LAWS, Pair

_OWN_TEXT = 1e-5
_FINETUNE = {"rate": 0.001, "every": 4, "batch": 4, "time_share": 1.0}
_LESSON = st.lists(
    st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.integers(0, 2)),
    max_size=5,
)


class Turning(EncoderLearner):
    """Gives itself a turn behind each lesson that makes it due, as the trainer does."""

    def learn(self, texts: Sequence[str], labels: Sequence[int]) -> None:
        super().learn(texts, labels)
        if self.due:
            self.turn()


def learner(chosen: EncoderSettings, seed: int) -> EncoderLearner:
    """On a clock by which a step takes no time, so that none is left out."""
    made = encoder_learner(chosen, LABELS, seed, lambda: 0.0)
    made.__class__ = Turning
    return made


@pytest.fixture(scope="session", params=["head", "bounded memory", "int8", "top layer"])
def pair(request: pytest.FixtureRequest, written: Callable[..., EncoderSettings]) -> Pair:
    kinds: dict[str, dict[str, Any]] = {
        "head": {},
        "bounded memory": {"buffer": 60},
        "int8": {"precision": "int8"},
        "top layer": {"top_layers": 1, "finetune": _FINETUNE},
    }
    chosen = written(**kinds[request.param])
    return Pair(
        learner=lambda seed: learner(chosen, seed),
        level=lambda: encoder_level(chosen, LABELS),
        neighbours=_OWN_TEXT,
    )


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law(pair: Pair, law: Callable[[Pair], None]) -> None:
    law(pair)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text(pair: Pair, text: str) -> None:
    checks.check_hostile_text(pair, text)


@settings(max_examples=10, deadline=None)
@given(lessons=st.lists(_LESSON, min_size=1, max_size=5), data=st.data())
def test_a_snapshot_goes_on_as_if_never_stopped(
    pair: Pair, lessons: list[list[tuple[str, int]]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(lessons)))
    checks.check_a_snapshot_goes_on_as_if_never_stopped(pair, lessons, cut)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("head/weights", lambda array: None),
        ("head/weights", lambda array: array.T),
        ("head/weights", lambda array: array.astype(np.float64)),
        ("head/weights", lambda array: array * np.nan),
        ("head/bias", lambda array: None),
        ("head/bias", lambda array: array[1:]),
        ("head/bias", lambda array: array + np.inf),
        ("layers/of.another.model", lambda array: np.zeros(3, np.float32)),
    ],
)
def test_what_does_not_fit_leaves_the_old_weights_serving(
    pair: Pair, name: str, change: Callable[..., npt.NDArray[Any] | None]
) -> None:
    tensors = checks.taught(pair).tensors()
    spoilt = tensors | {name: change(tensors.get(name))}
    checks.check_what_does_not_fit_is_refused(
        pair, {key: value for key, value in spoilt.items() if value is not None}
    )


def test_layers_that_do_not_fit_are_refused(written: Callable[..., EncoderSettings]) -> None:
    chosen = written(top_layers=1)
    pair = Pair(
        learner=lambda seed: learner(chosen, seed),
        level=lambda: encoder_level(chosen, LABELS),
    )
    tensors = checks.taught(pair).tensors()
    name = f"layers/{open_encoder(chosen).artifact.meta.trainable[0].name}"
    for spoilt in (None, tensors[name][1:], tensors[name] * np.float32(np.nan)):
        rest = {
            key: value for key, value in (tensors | {name: spoilt}).items() if value is not None
        }
        checks.check_what_does_not_fit_is_refused(pair, rest)

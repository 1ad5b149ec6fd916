"""The TRACER-like baseline: its parity gate, its threshold and its refits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.study.methods.refit import (
    AcceptanceLearner,
    AcceptancePolicy,
    RefitLearner,
    acceptance,
)
from model_store.ledger import Usage
from operators.budget import SpendingPlan
from tests.operators.fakes import chunk
from tests.operators.levels.encoder import tiny

FRESH = Usage(seen=0, deferred=0, settled=0, reserved=0)
Traces = st.lists(st.tuples(st.sampled_from([0.5, 0.6, 0.7, 0.8, 0.9]), st.booleans()), max_size=80)


@given(Traces, st.floats(0.3, 1))
def test_what_is_accepted_reaches_the_target(
    traces: list[tuple[float, bool]], target: float
) -> None:
    threshold = acceptance(traces, target)
    handled = [agrees for confidence, agrees in traces if confidence >= threshold]
    assert not handled or (len(handled) >= 20 and np.mean(handled) >= target)


@given(Traces, st.floats(0.3, 0.9))
def test_a_higher_target_never_accepts_more(
    traces: list[tuple[float, bool]], target: float
) -> None:
    assert acceptance(traces, target) <= acceptance(traces, target + 0.1)


def test_without_parity_nothing_is_deployed() -> None:
    learner = AcceptanceLearner(0.9)
    wrong = np.tile([0.9, 0.1], (100, 1))
    learner.learn([wrong], np.ones(100, np.intp), np.ones(100))
    assert np.isinf(learner.tensors([1])["threshold"][0])
    policy = AcceptancePolicy(SpendingPlan(None))
    policy.swap(policy.stage(learner.tensors([1])))
    assert policy.route(chunk([[1.0, 0.0]]), FRESH).sent.all()


def test_the_sure_are_answered_and_the_others_sent() -> None:
    policy = AcceptancePolicy(SpendingPlan(None))
    policy.swap(policy.stage({"threshold": np.array([0.8], np.float32)}))
    routing = policy.route(chunk([[0.9, 0.1], [0.3, 0.7], [0.1, 0.9]]), FRESH)
    assert routing.sent.tolist() == [False, True, False]


def test_the_surrogate_is_fitted_when_the_traces_have_grown(tmp_path: Path) -> None:
    settings = tiny.written(tiny.make(tmp_path / "base"), tmp_path / "cache")
    learner = RefitLearner(settings, tiny.opened(settings), 3, 0)
    texts = [tiny.WORDS[n % 6] for n in range(60)]
    answers = [n % 6 // 3 for n in range(60)]  # label 2 is never met
    learner.learn(texts[:49], answers[:49])
    assert learner.predict(texts[:1])[0] == pytest.approx([1 / 3] * 3)
    learner.learn(texts[49:], answers[49:])
    opinion = learner.predict(texts)
    assert opinion.argmax(axis=1).tolist() == answers
    assert opinion[:, 2].max() < 1e-3

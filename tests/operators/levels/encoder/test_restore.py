"""A trainer that fine-tunes goes on to the bit, whatever the clock said, wherever it stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.assembly import build_trainer
from operators.core.trainer import Trainer
from operators.levels.encoder.tokens import Tokens
from operators.records import Annotation
from operators.settings import CascadeSettings, EncoderSettings
from tests.operators.fakes import Later, failing_on
from tests.operators.levels.checks import annotate, equal, toy_stream
from tests.operators.test_assembly import written as job_of

_FINETUNE = {"rate": 0.001, "every": 2, "batch": 4, "time_share": 1.0}
LINEAR = {"features": {"bits": 8, "words": 1, "characters": None}}
Written = Callable[..., EncoderSettings]
Log = list[tuple[list[Annotation], tuple[str, ...]]]


@pytest.fixture(scope="session", params=["budgeted", "paper"])
def job(request: pytest.FixtureRequest, written: Written) -> CascadeSettings:
    """Two encoders that are fine-tuned, one of them with a memory that is soon full."""
    levels: list[dict[str, Any]] = [
        LINEAR,
        written(name="small", top_layers=1, buffer=12, finetune=_FINETUNE).model_dump(),
        written(name="large", top_layers=2, finetune=_FINETUNE | {"every": 5}).model_dump(),
    ]
    if request.param == "paper":
        gates = [{}, {"cache": 3}, {"cache": 4}]
        return job_of(levels=levels, policy={"kind": "paper", "gates": gates})
    return job_of(levels=levels, budget={"share": 0.1})


def lessons(sizes: Sequence[int]) -> list[list[Annotation]]:
    notes = annotate(toy_stream(sum(sizes), seed=3))
    ends = np.cumsum(sizes)
    return [notes[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def learn(trainer: Trainer, taught: Sequence[list[Annotation]]) -> Log:
    log: Log = []
    for lesson in taught:
        trainer.learn(lesson, len(lesson))
        log.append((lesson, trainer.turns))
    return log


def repeat(job: CascadeSettings, snapshot: bytes, log: Log, executor: Executor | None) -> Trainer:
    """A trainer that lived before, restored and taught the lessons after."""
    heir = build_trainer(job, executor=executor)
    learn(heir, lessons([5, 6]))
    heir.restore(snapshot)
    for lesson, turns in log:
        heir.learn(lesson, len(lesson), turns=turns)
        assert heir.turns == turns
    return heir


@settings(max_examples=8, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=2, max_size=8),
    done=st.lists(st.booleans(), min_size=8, max_size=8),
    data=st.data(),
)
def test_steps_that_are_done_sooner_or_later(
    job: CascadeSettings, sizes: list[int], done: list[bool], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(sizes)))
    background = Later()
    steady = build_trainer(job, executor=background)
    snapshot, log = steady.snapshot(), []
    for number, lesson in enumerate(lessons(sizes)):
        if number == cut:  # with a round under way, done or not, as it comes
            snapshot, log = steady.snapshot(), []
        log += learn(steady, [lesson])
        if done[number]:
            background.work()
    heir = repeat(job, snapshot, log, None)
    background.work()
    assert heir.snapshot() == steady.snapshot()
    assert equal(heir.tensors(), steady.tensors())


def test_steps_on_a_thread(job: CascadeSettings) -> None:
    taught = lessons([7] * 24)
    with ThreadPoolExecutor(1) as thread, ThreadPoolExecutor(1) as another:
        steady = build_trainer(job, executor=thread)
        learn(steady, taught[:12])  # so many that the heads have weighed their parts
        snapshot = steady.snapshot()
        log: Log = []
        for number, lesson in enumerate(taught[12:]):
            log += learn(steady, [lesson])
            if number % 4 == 0:
                thread.submit(int).result()  # behind all rounds under way: they are done now
        assert sum(len(turns) for _, turns in log) > 1
        heir = repeat(job, snapshot, log, another)
        assert heir.snapshot() == steady.snapshot()
        assert equal(heir.tensors(), steady.tensors())


def test_the_seed_alone_decides_where_steps_take_no_time(job: CascadeSettings) -> None:
    """As in a replay: each round is done when it begins."""
    first, second = build_trainer(job), build_trainer(job)
    for trainer in (first, second):
        learn(trainer, lessons([7] * 6))
    assert first.snapshot() == second.snapshot()
    before = build_trainer(job).tensors()
    moved = [
        name for name, value in first.tensors().items() if not np.array_equal(value, before[name])
    ]
    assert {name.split("/")[0] for name in moved if "/layers/" in name} == {"small", "large"}


def test_a_text_that_an_encoder_fails_on_never_gets_to_its_steps(job: CascadeSettings) -> None:
    def bad(text: str) -> bool:
        return text.endswith("!")

    taught = [
        [msgspec.structs.replace(n, text=n.text + "!" * (i % 4 == 1)) for i, n in enumerate(part)]
        for part in lessons([7] * 12)
    ]
    with failing_on(Tokens, bad):
        steady = build_trainer(job)
        learn(steady, taught[:5])
        snapshot = steady.snapshot()
        log = learn(steady, taught[5:])
        heir = repeat(job, snapshot, log, None)
    assert heir.snapshot() == steady.snapshot()
    assert {name for _, turns in log for name in turns} == {"small", "large"}
    assert steady.left_out["linear"] == 0
    assert steady.left_out["small"] == steady.left_out["large"] > 20

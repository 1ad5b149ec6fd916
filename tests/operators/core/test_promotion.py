"""The gate in the loop: what it holds off, what it lets through, and what survives a restart."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import pytest

from flink_job.demo.posts import LABELS, Post, generate
from model_store.errors import StoreUnavailable
from model_store.manifest import Manifest
from model_store.memory import MemoryBackend
from model_store.store import ModelStore
from operators.assembly import build_trainer
from operators.core.gate import quadratic
from operators.core.publisher import Publisher
from operators.core.trainer import Trainer
from operators.levels.linear_onnx import LinearLevel
from operators.levels.port import under
from operators.policy import ensemble
from operators.records import Annotation, Lesson, Reason
from operators.settings import (
    BudgetSettings,
    CascadeSettings,
    FeatureSettings,
    LearningSettings,
    LinearSettings,
    PaperSettings,
    PromotionSettings,
    RecordedExpertSettings,
    TaskSettings,
)
from tests.operators.fakes import memory_ledger
from tests.operators.levels.checks import equal

TASK = "t"
CHUNK = 8
LEARNED, POISONED = 1500, range(700, 1000)
GATE = PromotionSettings(holdout=0.1)
Poison = Callable[[int], int]  # what is made of a label
_LEVEL = LinearSettings(features=FeatureSettings(bits=16, characters=None))


@cache
def posts() -> tuple[Sequence[Post], Sequence[Post]]:
    """Posts to learn from, and others of the same time to judge by."""
    stream = list(generate(5000, 5))
    return stream[:LEARNED], stream[LEARNED : LEARNED + 800]


def label_of(post: Post) -> int:
    return LABELS.index(post.expert)


class World:
    """A job without Flink: what was published serves at once, all events are annotated."""

    def __init__(self, gate: PromotionSettings | None) -> None:
        self.settings = CascadeSettings(
            task=TaskSettings(name=TASK, labels=LABELS, prompt="?"),
            levels=(_LEVEL,),
            expert=RecordedExpertSettings(column="c"),
            budget=BudgetSettings(share=0.1),
            learning=LearningSettings(gate=gate),
        )
        ticks: Iterator[int] = iter(range(10**6))
        start = datetime(2025, 1, 1, tzinfo=UTC)
        self.store = ModelStore(
            MemoryBackend(), retention=200, now=lambda: start + timedelta(seconds=next(ticks))
        )
        self.level = LinearLevel(_LEVEL, len(LABELS))
        self.weights = np.ones(1)
        self.made: list[Manifest] = []
        self.at: list[int] = []
        self.quality: list[float] = []
        self.start(build_trainer(self.settings))

    def start(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.publisher = Publisher(
            TASK, trainer, self.store, memory_ledger(), self.settings.learning
        )
        self.publisher.start()
        self.serve()

    def serve(self) -> None:
        self.head = self.store.head(TASK)
        if self.head is not None:
            tensors = self.store.load(TASK, self.head).tensors
            self.level.swap(self.level.stage(under("linear", tensors)))
            self.weights = tensors["policy/ensemble"].astype(np.float64)

    def score(self, texts: Sequence[str], labels: Sequence[int]) -> list[float]:
        together = ensemble.combine([self.level.predict(texts)], self.weights)
        return [float(score) for score in quadratic(together, np.array(labels))]

    def lesson(self, chunk: Sequence[Post], labels: Sequence[int]) -> Lesson:
        served = self.score([p.text for p in chunk], labels)
        annotations = tuple(
            Annotation(
                post.id, post.text, label, None, Reason.POLICY, 1.0, score if self.head else None
            )
            for post, label, score in zip(chunk, labels, served, strict=True)
        )
        return Lesson(annotations, len(annotations))

    def live(self, first: int, last: int, poison: Poison = lambda label: label) -> None:
        """Learn from posts, and note how good what serves is, by the true answers."""
        learned, judged = posts()
        texts, truth = [p.text for p in judged], [label_of(p) for p in judged]
        for at in range(first, last, CHUNK):
            chunk = learned[at : at + CHUNK]
            labels = [poison(label_of(p)) if at in POISONED else label_of(p) for p in chunk]
            made = self.publisher.take(self.lesson(chunk, labels))
            if made is not None:
                self.serve()
                self.made.append(made)
                self.at.append(at)
                self.quality.append(float(np.mean(self.score(texts, truth))))

    def worst(self, first: int, last: int) -> float:
        return min(q for at, q in zip(self.at, self.quality, strict=True) if first <= at < last)

    def rejected(self, first: int = 0, last: int = LEARNED) -> list[Manifest]:
        return [
            made
            for at, made in zip(self.at, self.made, strict=True)
            if first <= at < last and made.rejected is not None
        ]


def poisons(kind: str) -> Poison:
    """Three in ten labels are wrong."""
    chance = random.Random(1)
    wrong: Poison = (lambda label: 1 - label) if kind == "flip" else (lambda _: 1)
    return lambda label: wrong(label) if chance.random() < 0.3 else label


@pytest.mark.parametrize("kind", ["flip", "force"])
def test_the_gate_holds_the_line_while_labels_are_poisoned(kind: str) -> None:
    gated, open_to_all = World(GATE), World(None)
    for world in (gated, open_to_all):
        world.live(0, LEARNED, poisons(kind))
    before = gated.quality[gated.at.index(max(at for at in gated.at if at < POISONED.start))]
    during = (POISONED.start, POISONED.stop)
    assert before - gated.worst(*during) < GATE.margin
    assert before - open_to_all.worst(*during) > 3 * GATE.margin
    rejected = gated.rejected(*during)
    assert len(rejected) >= GATE.patience
    for manifest in rejected:
        assert manifest.stats["gate.lower"] < -GATE.margin  # type: ignore[operator]  # a number
        assert manifest.rejected is not None
        assert "the margin is 0.03" in manifest.rejected
    # It starts again from the head, and goes on to serve what is better.
    assert gated.publisher.adopted >= 1
    assert gated.made[-1].rejected is None
    assert gated.quality[-1] > before
    assert not open_to_all.rejected()
    assert gated.publisher.rejected == len(gated.rejected())
    assert gated.publisher.published == len(gated.made) - len(gated.rejected())


def test_without_poison_hardly_anything_is_rejected() -> None:
    world = World(GATE)
    world.live(0, LEARNED)
    assert len(world.rejected()) <= 1
    assert len(world.made) > 20


def test_what_was_rejected_is_listed_and_never_built_on() -> None:
    world = World(GATE)
    world.live(0, POISONED.stop, poisons("force"))
    listed = world.store.releases(TASK)
    rejected = {manifest.release for manifest in listed if manifest.rejected is not None}
    assert rejected
    assert world.publisher.parent == world.head
    assert world.head not in rejected
    assert not rejected & {manifest.parent for manifest in listed}


def test_a_restored_trainer_rules_as_the_one_that_never_stopped() -> None:
    steady, stopped = World(GATE), World(GATE)
    middle, end = POISONED.start + 15 * CHUNK, POISONED.stop
    steady.live(0, middle, poisons("force"))
    stopped.live(0, middle, poisons("force"))
    heir = build_trainer(stopped.settings)
    heir.restore(stopped.trainer.snapshot())
    stopped.start(heir)
    for world in (steady, stopped):
        world.publisher._ruled_at = middle  # a restart puts the next release off
        world.live(middle, end, poisons("flip"))
    assert [m.rejected for m in steady.made] == [m.rejected for m in stopped.made]
    assert [m.stats for m in steady.made] == [m.stats for m in stopped.made]
    assert equal(heir.tensors(), steady.trainer.tensors())


def test_a_restored_trainer_is_held_against_the_head_that_is_there() -> None:
    """Someone rolled back while it was down, or it published after its last snapshot."""
    world = World(GATE)
    world.live(0, 600)
    stopped, snapshot = world.trainer, world.trainer.snapshot()
    oldest = world.store.releases(TASK)[-2].release
    world.store.rollback(TASK, oldest)
    heir = build_trainer(world.settings)
    heir.restore(snapshot)
    world.start(heir)
    assert world.publisher.adopted == 0
    assert equal(heir.tensors(), stopped.tensors())
    assert heir.annotations > 500
    ruling = heir.rule()
    assert ruling is not None
    assert ruling.candidate > ruling.head + 0.05


def test_after_a_rollback_the_trainer_is_its_own_equal() -> None:
    world = World(GATE)
    world.live(0, 600)
    world.store.rollback(TASK, world.store.releases(TASK)[3].release)
    while world.publisher.adopted == 0:
        world.live(600, 600 + CHUNK)
    ruling = world.trainer.rule()
    assert ruling is not None
    assert ruling.candidate == ruling.head
    assert ruling.promoted


def test_after_some_rejections_in_a_row_it_starts_again_from_the_head() -> None:
    world = World(GATE.model_copy(update={"margin": 0.0, "confidence": 0.999, "patience": 3}))
    world.live(0, 600)
    rejected = [made.rejected is not None for made in world.made]
    runs = "".join("r" if r else "p" for r in rejected).split("p")
    assert world.publisher.adopted == sum(len(run) // 3 for run in runs) > 0


def test_a_head_that_can_not_be_had_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(GATE.model_copy(update={"margin": 0.0, "confidence": 0.999, "patience": 1}))

    def down(*_: object, **__: object) -> object:
        raise StoreUnavailable("redis://nowhere", "refused")

    with monkeypatch.context() as patch:
        patch.setattr(world.publisher, "_adopt", down)
        world.live(0, 500)
    assert world.rejected()
    assert world.publisher.adopted == 0
    world.live(500, 800)
    assert world.publisher.adopted > 0


def test_the_papers_policy_has_no_gate() -> None:
    settings = World(GATE).settings.model_copy(update={"policy": PaperSettings(hidden=8)})
    trainer = build_trainer(settings)
    trainer.learn(World(GATE).lesson(posts()[0][:600], [0] * 600).annotations, 600)
    assert trainer.annotations == 600
    assert trainer.rule() is None

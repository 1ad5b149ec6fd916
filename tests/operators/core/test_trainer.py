"""The trainer: judges before it teaches, counts, and survives as bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import numpy as safetensors

from model_store.errors import TensorMismatch
from operators.assembly import build_trainer
from operators.core.trainer import SNAPSHOT_VERSION, Trainer
from operators.records import Annotation, Reason
from operators.settings import (
    BudgetSettings,
    CascadeSettings,
    FeatureSettings,
    GateSettings,
    LearningSettings,
    LinearSettings,
    PaperSettings,
    PromotionSettings,
    RecordedExpertSettings,
    TaskSettings,
)
from tests.operators.core.test_cascade import release_of
from tests.operators.levels.checks import equal

_WORDS = FeatureSettings(bits=8, words=1, characters=None)
_TWO = (
    LinearSettings(name="first", features=_WORDS, buffer=16),
    LinearSettings(name="second", features=_WORDS, optimizer="ogd", rate=2, replay=0, cost=3),
)
_PAPER = PaperSettings(hidden=8, gates=(GateSettings(cache=3),), aggregate=True)


_GATE = PromotionSettings(holdout=0.4, window=16, least=2)


def chosen(
    levels: Sequence[LinearSettings] = _TWO,
    *,
    paper: bool = False,
    gate: PromotionSettings | None = None,
) -> CascadeSettings:
    return CascadeSettings(
        task=TaskSettings(name="t", labels=("a", "b", "c"), prompt="?"),
        levels=tuple(levels),
        expert=RecordedExpertSettings(column="c"),
        budget=BudgetSettings(share=0.1),
        learning=LearningSettings(gate=gate),
        **({"policy": _PAPER} if paper else {}),
    )


KINDS: dict[str, Callable[[], CascadeSettings]] = {
    "budgeted": chosen,
    "budgeted, held out": lambda: chosen(gate=_GATE),
    "paper": lambda: chosen(paper=True),
    "budgeted, one level": lambda: chosen(_TWO[:1]),
    "paper, one level": lambda: chosen(_TWO[:1], paper=True),
}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def notes(count: int, start: int = 0) -> list[Annotation]:
    return [
        Annotation(
            f"e{i}", f"w{i % 5} {'é' * (i % 3)}", i % 3, None, Reason.POLICY, 0.1 + i % 9 / 10
        )
        for i in range(start, start + count)
    ]


def learn(trainer: Trainer, sizes: Sequence[int], start: int = 0) -> None:
    for size in sizes:
        trainer.learn(notes(size, start), size + 1)
        start += size


@kinds
@settings(max_examples=12, deadline=None)
@given(sizes=st.lists(st.integers(0, 9), max_size=6), data=st.data())
def test_a_snapshot_goes_on_as_if_never_stopped(
    kind: Callable[[], CascadeSettings], sizes: list[int], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(sizes)))
    steady, second = build_trainer(kind()), build_trainer(kind())
    learn(second, [4, 4], start=50)
    learn(steady, sizes[:cut])
    second.restore(steady.snapshot())
    assert (second.annotations, second.settled) == (steady.annotations, steady.settled)
    assert second.stats() == steady.stats()
    start = sum(sizes[:cut])
    for trainer in (steady, second):
        learn(trainer, sizes[cut:], start)
    assert equal(steady.tensors(), second.tensors())
    assert steady.snapshot() == second.snapshot()


@kinds
def test_a_release_is_adopted_whole(kind: Callable[[], CascadeSettings]) -> None:
    first, heir = build_trainer(kind()), build_trainer(kind())
    learn(first, [9, 9, 9, 9])
    learn(heir, [7, 7], start=70)
    heir.adopt(release_of(first.tensors()))
    published, adopted = first.tensors(), heir.tensors()
    published.pop("policy/updates", None)
    adopted.pop("policy/updates", None)
    assert equal(published, adopted)


@pytest.mark.parametrize(
    ("stats", "known"), [({"annotations": 30}, 30), ({}, 14), ({"annotations": "many"}, 14)]
)
def test_adopting_takes_over_what_the_weights_were_learned_from(
    stats: dict[str, float | int | str], known: int
) -> None:
    first, heir = build_trainer(chosen()), build_trainer(chosen())
    learn(heir, [7, 7])
    settled = heir.settled
    release = release_of(first.tensors())
    manifest = release.manifest.model_copy(update={"stats": stats})
    heir.adopt(replace(release, manifest=manifest))
    assert heir.stats()["annotations"] == known
    assert heir.settled == settled  # those are the job's


def test_adopting_goes_on_with_the_updates_that_were_published() -> None:
    """They drive beta and the warm-up: a heir that starts at 0 sends the whole stream again."""
    first, heir = (build_trainer(chosen(paper=True)) for _ in range(2))
    learn(first, [30])
    assert first.tensors()["policy/updates"].tolist() == [10, 10]
    heir.adopt(release_of(first.tensors()))
    assert heir.tensors()["policy/updates"].tolist() == [10, 10]


def test_a_release_of_another_policy_is_refused_and_changes_nothing() -> None:
    for one, other in [(chosen(), chosen(paper=True)), (chosen(paper=True), chosen())]:
        trainer = build_trainer(one)
        learn(trainer, [9])
        before = trainer.tensors()
        foreign = build_trainer(other)
        learn(foreign, [5])
        with pytest.raises(TensorMismatch):
            trainer.adopt(release_of(foreign.tensors()))
        assert equal(trainer.tensors(), before)


def test_a_release_of_other_levels_is_refused_and_changes_nothing() -> None:
    wider = _TWO[1].model_copy(update={"features": FeatureSettings(bits=10, characters=None)})
    for other in (_TWO[:1], (_TWO[0], wider)):
        trainer = build_trainer(chosen())
        learn(trainer, [9])
        before = trainer.tensors()
        foreign = build_trainer(chosen(other))
        learn(foreign, [50])
        with pytest.raises(TensorMismatch):
            trainer.adopt(release_of(foreign.tensors()))
        assert equal(trainer.tensors(), before)


def test_levels_are_judged_on_what_they_said_before_they_learned() -> None:
    trainer = build_trainer(chosen(_TWO[:1]))
    same = [Annotation("e", "word", 2, None, Reason.POLICY, 1.0)]
    trainer.learn(same, 1)
    assert trainer.stats()["agreement.first"] == 0  # it knew nothing: the first label
    for _ in range(3):
        trainer.learn(same, 1)
    assert trainer.stats()["agreement.first"] == pytest.approx(3 / 4)


def test_agreement_forgets_what_is_long_ago() -> None:
    trainer = build_trainer(chosen(_TWO[:1]))
    trainer._judge("first", np.zeros(1000, np.bool_))
    trainer._counts.annotations = 1000
    trainer._judge("first", np.ones(400, np.bool_))
    expected = 1 - (1 - 1 / 200) ** 400
    assert trainer.stats()["agreement.first"] == pytest.approx(expected, abs=1e-4)


def test_failures_settle_without_teaching() -> None:
    trainer = build_trainer(chosen())
    before = trainer.tensors()
    trainer.learn([], 5)
    assert (trainer.annotations, trainer.settled) == (0, 5)
    assert equal(trainer.tensors(), before)


def test_stats_are_what_a_manifest_takes() -> None:
    trainer = build_trainer(chosen(paper=True))
    learn(trainer, [9, 3])
    stats = trainer.stats()
    assert stats.keys() == {"annotations", "settled", "agreement.first", "agreement.second"}
    assert (stats["annotations"], stats["settled"]) == (12, 14)
    assert release_of(trainer.tensors()).manifest.tensors.keys() == trainer.tensors().keys()


def test_the_same_settings_and_lessons_give_the_same_trainer() -> None:
    trainers = [build_trainer(chosen(paper=True)) for _ in range(2)]
    for trainer in trainers:
        learn(trainer, [5, 7, 9])
    assert trainers[0].snapshot() == trainers[1].snapshot()


def test_a_snapshot_of_another_version_is_refused_with_advice() -> None:
    trainer = build_trainer(chosen())
    learn(trainer, [3])
    state = safetensors.load(trainer.snapshot())
    counts = msgspec.json.decode(state["counts"].tobytes())
    counts["version"] = SNAPSHOT_VERSION + 1
    state["counts"] = np.frombuffer(msgspec.json.encode(counts), np.uint8)
    fresh = build_trainer(chosen())
    said = f"has version {SNAPSHOT_VERSION + 1}, not {SNAPSHOT_VERSION}: restore it with"
    with pytest.raises(ValueError, match=said):
        fresh.restore(safetensors.save(state))
    assert fresh.annotations == 0


def test_a_snapshot_of_a_level_with_other_settings_is_refused_with_advice() -> None:
    trainer = build_trainer(chosen())
    learn(trainer, [3])
    narrower = _TWO[0].features.model_copy(update={"bits": _TWO[0].features.bits - 4})
    changed = (_TWO[0].model_copy(update={"features": narrower}), *_TWO[1:])
    said = rf"does not fit level '{_TWO[0].name}'.*restore it with the level's settings"
    with pytest.raises(ValueError, match=said):
        build_trainer(chosen(changed)).restore(trainer.snapshot())


def test_a_snapshot_is_no_pickle() -> None:
    trainer = build_trainer(chosen(paper=True))
    learn(trainer, [9])
    data = trainer.snapshot()
    header = msgspec.json.decode(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert {"counts", "first/cache", "policy/0/parameters"} <= header.keys()

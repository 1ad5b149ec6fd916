"""The cascade: one outcome for each event, releases whole or not at all, shards that survive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.errors import StoreUnavailable, TensorMismatch
from model_store.ledger import Ledger, Usage
from model_store.manifest import Manifest, Release
from model_store.tensors import TensorRef, encode, reference
from operators.audit.chances import AuditChances
from operators.budget import SpendingPlan
from operators.core.cascade import STATE_VERSION, Cascade, ShardState
from operators.levels.linear import LinearLearner
from operators.levels.linear_onnx import LinearLevel
from operators.levels.port import Tensors, prefixed
from operators.policy.budgeted import BudgetedLearner, BudgetedPolicy
from operators.records import Reason
from operators.settings import (
    BudgetedSettings,
    BudgetSettings,
    FeatureSettings,
    LinearSettings,
    TaskSettings,
)
from tests.operators.fakes import (
    DownLedger,
    FakeLevel,
    FakePolicy,
    confident,
    event,
    events,
    memory_ledger,
)

LABELS = ("no", "yes")
QUESTION = TaskSettings(name="moderation", labels=LABELS, prompt="?")


def release_of(tensors: dict[str, npt.NDArray[Any]], sequence: int = 1) -> Release:
    refs: dict[str, TensorRef] = {
        name: reference(array, encode(array)) for name, array in tensors.items()
    }
    manifest = Manifest.seal(
        task=QUESTION.name,
        parent=None,
        sequence=sequence,
        created=datetime(2025, 1, 1, tzinfo=UTC),
        tensors=refs,
        stats={},
    )
    return Release(manifest, tensors)


def fake_cascade(
    send: frozenset[str] = frozenset(), ledger: Ledger | None = None, levels: int = 1
) -> tuple[Cascade, FakePolicy, list[FakeLevel]]:
    asked = [
        FakeLevel(lambda text: confident(0.7, label=int(text) % 2), name=f"level{i}")
        for i in range(levels)
    ]
    policy = FakePolicy(send)
    cascade = Cascade(QUESTION, asked, policy, memory_ledger() if ledger is None else ledger)
    return cascade, policy, asked


@settings(max_examples=50, deadline=None)
@given(
    chunks=st.lists(
        st.tuples(st.sampled_from("ab"), st.lists(st.booleans(), max_size=8)), max_size=6
    )
)
def test_every_event_is_in_exactly_one_of_decisions_and_deferrals(
    chunks: list[tuple[str, list[bool]]],
) -> None:
    ledger, at = memory_ledger(), 0
    send = {f"e{i}": flag for i, flag in enumerate(flag for _, flags in chunks for flag in flags)}
    cascade, _, _ = fake_cascade(frozenset(i for i, flag in send.items() if flag), ledger)
    for shard, flags in chunks:
        chunk = events(len(flags), at)
        at += len(flags)
        outcome = cascade.decide(shard, chunk)
        decided = [decision.id for decision in outcome.decisions]
        deferred = [deferral.event for deferral in outcome.deferrals]
        assert decided == [one.id for one in chunk if not send[one.id]]
        assert deferred == [one for one in chunk if send[one.id]]
        for decision in outcome.decisions:
            assert decision.label == LABELS[int(decision.id[1:]) % 2]
            assert decision.reason is Reason.ACCEPTED
            assert sum(decision.probabilities) == pytest.approx(1)
        for deferral in outcome.deferrals:
            said = confident(0.7, int(deferral.event.text) % 2)
            assert deferral.probabilities == pytest.approx(said)
            assert [opinion.level for opinion in deferral.opinions] == ["level0"]
            assert (deferral.reason, deferral.propensity) == (Reason.POLICY, 1.0)
    total = ledger.usage()
    assert (total.seen, total.deferred) == (at, sum(send.values()))


def real_cascade(levels: int = 1, labels: int = 2, ledger: Ledger | None = None) -> Cascade:
    small = [
        LinearLevel(LinearSettings(name=f"level{i}", features=_FEATURES), labels)
        for i in range(levels)
    ]
    plan = SpendingPlan(BudgetSettings(share=0.2, burst=50))
    policy = BudgetedPolicy(BudgetedSettings(), levels, plan, 0, AuditChances(0.02, 0.005))
    task = TaskSettings(name="moderation", labels=("no", "yes", "maybe")[:labels], prompt="?")
    return Cascade(task, small, policy, memory_ledger() if ledger is None else ledger)


_FEATURES = FeatureSettings(bits=8, words=1, characters=None)


def learned(levels: int = 1, labels: int = 2, text: str = "buy") -> dict[str, npt.NDArray[Any]]:
    tensors: dict[str, npt.NDArray[Any]] = {}
    for i in range(levels):
        learner = LinearLearner(LinearSettings(features=_FEATURES), labels, seed=i)
        learner.learn([text] * 20 + ["hello"] * 20, [1] * 20 + [0] * 20)
        tensors |= prefixed(f"level{i}", learner.tensors())
    return tensors | prefixed("policy", BudgetedLearner(BudgetedSettings(), levels).tensors([1]))


def test_a_release_decides_from_the_next_chunk_on() -> None:
    cascade = real_cascade()
    assert cascade.release is None
    before = cascade.decide("a", [event(i, "buy") for i in range(200)])
    assert {d.release for d in before.decisions} == {None}
    release = release_of(learned())
    cascade.load(release)
    assert cascade.release == release.manifest.release
    after = cascade.decide("a", [event(i, "buy") for i in range(200, 400)])
    assert {d.release for d in after.decisions} == {release.manifest.release}
    assert {d.label for d in after.decisions} == {"yes"}
    assert {d.release for d in after.deferrals} == {release.manifest.release}


BROKEN: dict[str, Callable[[dict[str, npt.NDArray[Any]]], dict[str, npt.NDArray[Any]]]] = {
    "a level missing": lambda t: {k: v for k, v in t.items() if not k.startswith("level1/")},
    "the policy missing": lambda t: {k: v for k, v in t.items() if not k.startswith("policy/")},
    "one level of other labels": lambda t: (
        t
        | prefixed(
            "level1", {k[7:]: v for k, v in learned(1, 3).items() if k.startswith("level0/")}
        )
    ),
    "all of other labels": lambda t: learned(2, 3),
    "a policy of other levels": lambda t: (
        t | prefixed("policy", BudgetedLearner(BudgetedSettings(), 3).tensors([1]))
    ),
}


@pytest.mark.parametrize("spoil", BROKEN.values(), ids=BROKEN.keys())
def test_a_release_that_does_not_fit_is_refused_as_a_whole(
    spoil: Callable[[dict[str, npt.NDArray[Any]]], dict[str, npt.NDArray[Any]]],
) -> None:
    cascade = real_cascade(levels=2)
    good = release_of(learned(levels=2))
    cascade.load(good)
    probes = ["buy", "sell", "hello"]
    before = [level.predict(probes) for level in cascade._levels]
    weights = cascade._policy._weights  # type: ignore[attr-defined]  # the budgeted policy's
    other = release_of(spoil(learned(levels=2, text="sell")), sequence=2)
    with pytest.raises(TensorMismatch, match="Operator action"):
        cascade.load(other)
    assert cascade.release == good.manifest.release
    assert cascade._policy._weights is weights  # type: ignore[attr-defined]  # as above
    for level, rows in zip(cascade._levels, before, strict=True):
        assert np.array_equal(level.predict(probes), rows)


def test_levels_and_policy_get_their_own_tensors() -> None:
    cascade, policy, (one, two) = fake_cascade(levels=2)
    zero = np.zeros(1, np.float32)
    cascade.load(release_of({"level0/w": zero, "level1/v": zero, "policy/p": zero}))
    assert (one.served, two.served, policy.served) == ({"w": zero}, {"v": zero}, {"p": zero})


def test_only_rows_that_a_level_was_asked_about_become_opinions() -> None:
    @dataclass
    class Picky(FakePolicy):
        second: list[int] = field(default_factory=list)

        def route(self, chunk: Any, usage: Usage) -> Any:
            routing = super().route(chunk, usage)
            chunk.ask(1, np.array(self.second))
            return routing

    levels = [FakeLevel(lambda _: confident(0.7), name=name) for name in ("first", "second")]
    policy = Picky(frozenset({"e0", "e1", "e2"}), second=[1])
    outcome = Cascade(QUESTION, levels, policy, memory_ledger()).decide("a", events(3))
    assert [[o.level for o in d.opinions] for d in outcome.deferrals] == [
        ["first"], ["first", "second"], ["first"]
    ]  # fmt: skip
    assert levels[1].asked == ["1"]


def test_a_shard_goes_on_where_its_snapshot_left_it() -> None:
    ledger = memory_ledger()
    first, _, _ = fake_cascade(frozenset({"e1", "e4"}), ledger)
    first.decide("a", events(3))
    state = first.snapshot("a")
    assert msgspec.msgpack.decode(state, type=ShardState) == ShardState(
        seen=3, deferred=1, scores=[0.5] * 3
    )
    first.decide("a", events(3, 3))
    assert ledger.usage().seen == 6

    second, policy, _ = fake_cascade(frozenset({"e1", "e4"}), ledger)
    assert not second.knows("a")
    second.restore("a", state)
    assert second.knows("a")
    assert policy.scores == [0.5] * 3
    assert second.snapshot("a") == state
    # What came after the snapshot is replayed, and counted once.
    second.decide("a", events(3, 3))
    assert (ledger.usage().seen, ledger.usage().deferred) == (6, 2)
    assert second.snapshot("a") == first.snapshot("a")


def test_shards_are_counted_apart_and_policies_see_the_sum() -> None:
    ledger = memory_ledger()
    cascade, policy, _ = fake_cascade(frozenset({"e0"}), ledger)
    cascade.decide("a", events(3))
    cascade.decide("b", events(2, 3))
    cascade.decide("a", events(1, 5))
    assert [usage.seen for usage in policy.usages] == [0, 3, 5]
    assert [usage.deferred for usage in policy.usages] == [0, 1, 1]
    assert ledger.usage().seen == 6


@pytest.mark.parametrize("nothing", [None, b""])
def test_a_shard_without_a_state_starts_afresh(nothing: bytes | None) -> None:
    cascade, _, _ = fake_cascade()
    cascade.restore("a", nothing)
    assert msgspec.msgpack.decode(cascade.snapshot("a"), type=ShardState) == ShardState()


def test_a_state_of_another_version_is_refused_with_advice() -> None:
    cascade, _, _ = fake_cascade()
    old = msgspec.msgpack.encode(ShardState(version=STATE_VERSION + 1))
    with pytest.raises(ValueError, match=r"shard 'a' has version 3, not 2.*restore it with"):
        cascade.restore("a", old)
    assert not cascade.knows("a")


@pytest.mark.parametrize("data", [b"\x00", b"{}", msgspec.msgpack.encode({"seen": "many"})])
def test_bytes_that_are_no_state_are_refused(data: bytes) -> None:
    cascade, _, _ = fake_cascade()
    with pytest.raises(msgspec.DecodeError):
        cascade.restore("a", data)
    assert not cascade.knows("a")


def test_without_a_ledger_decisions_go_on_by_the_own_count() -> None:
    cascade, policy, _ = fake_cascade(frozenset({"e1"}), DownLedger())
    for start in (0, 4, 8):
        outcome = cascade.decide("a", events(4, start))
        assert len(outcome.decisions) + len(outcome.deferrals) == 4
        assert isinstance(cascade.ledger_error, StoreUnavailable)
    assert [(usage.seen, usage.deferred) for usage in policy.usages] == [(0, 0), (4, 1), (8, 1)]


def test_a_ledger_that_comes_back_is_told_all_of_it() -> None:
    ledger = memory_ledger()
    cascade, _, _ = fake_cascade(frozenset({"e1"}), DownLedger())
    cascade.decide("a", events(4))
    assert cascade.ledger_error is not None
    cascade._ledger = ledger
    cascade.decide("a", events(4, 4))
    assert cascade.ledger_error is None
    assert (ledger.usage().seen, ledger.usage().deferred) == (8, 1)


def test_an_empty_chunk_has_no_outcome() -> None:
    outcome = fake_cascade()[0].decide("a", [])
    assert not outcome.decisions
    assert not outcome.deferrals


def test_texts_reach_nothing_but_the_levels() -> None:
    cascade, _, (level,) = fake_cascade()
    level.say = lambda _: confident(0.7)
    text = "a text that must not travel"
    outcome = cascade.decide("a", [event(1, text)])
    assert level.asked == [text]
    assert text.encode() not in msgspec.json.encode(outcome.decisions)
    assert text.encode() not in cascade.snapshot("a")


def test_tensors_of_a_release_may_be_read_only() -> None:
    cascade = real_cascade()
    tensors: Tensors = learned()
    for array in tensors.values():
        array.setflags(write=False)
    cascade.load(release_of(dict(tensors)))
    outcome = cascade.decide("a", [event(0, "buy")])
    assert len(outcome.decisions) + len(outcome.deferrals) == 1

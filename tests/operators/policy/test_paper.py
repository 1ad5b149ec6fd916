"""The serving half of the paper's policy, against Algorithm 1 written out for one event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.errors import TensorMismatch
from model_store.ledger import Usage
from operators.budget import SpendingPlan
from operators.coins import coins
from operators.policy.deferral_mlp import forward, size
from operators.policy.paper import PaperPolicy, gates_for
from operators.records import Reason
from operators.settings import BudgetSettings, GateSettings, PaperSettings
from tests.operators.fakes import FakeChunk, chunk, confident

FloatArray = npt.NDArray[np.float64]
_LABELS, _HIDDEN = 3, 4
_FRESH = Usage(seen=0, deferred=0, settled=0, reserved=0)


def release(
    parameters: Sequence[FloatArray], updates: Sequence[int]
) -> dict[str, npt.NDArray[Any]]:
    named: dict[str, npt.NDArray[Any]] = {
        f"deferral.{i}": p.astype(np.float32) for i, p in enumerate(parameters)
    }
    return named | {"updates": np.array(updates, np.int64)}


def random_release(
    seed: int, levels: int, updates: Sequence[int], labels: int = _LABELS
) -> dict[str, npt.NDArray[Any]]:
    random = np.random.default_rng(seed)
    return release(list(random.normal(0, 3, (levels, size(labels, _HIDDEN)))), updates)


def constant(value: float, labels: int = 2) -> FloatArray:
    """Parameters of a deferral function that gives `value` whatever it is asked."""
    parameters = np.zeros(size(labels, _HIDDEN))
    parameters[-1] = np.log(value / (1 - value))
    return parameters


def policy(
    chosen: PaperSettings,
    tensors: dict[str, npt.NDArray[Any]] | None,
    levels: int = 1,
    labels: int = _LABELS,
    budget: BudgetSettings | None = None,
    seed: int = 0,
) -> PaperPolicy:
    served = PaperPolicy(chosen, levels, labels, SpendingPlan(budget), seed)
    if tensors is not None:
        served.swap(served.stage(tensors))
    return served


@dataclass(frozen=True)
class Walked:
    """Where Algorithm 1 takes one event."""

    sent: bool
    reason: Reason
    level: int
    asked: frozenset[int]
    propensity: float


def algorithm_1(
    chosen: PaperSettings,
    tensors: dict[str, npt.NDArray[Any]],
    opinions: Sequence[FloatArray],
    event: str,
    seed: int,
) -> Walked:
    """One event, one level after the other, as the paper and the authors' code have it."""
    levels = len(opinions)
    gates = chosen.gates * (levels if len(chosen.gates) == 1 else 1)
    updates = tensors["updates"]
    if min(updates) < chosen.warmup_updates:
        return Walked(True, Reason.WARMUP, 0, frozenset({0}), 1.0)
    level, asked, likely, propensity = 0, {0}, 1.0, 0.0
    for i in range(levels):
        beta = gates[i].decay ** int(updates[i])
        to_expert = chosen.jump == "expert" or i == levels - 1
        propensity += likely * beta if to_expert else 0.0
        if coins(seed, f"jump/{i}", [event])[0] < beta:
            if to_expert:
                return Walked(True, Reason.JUMP, level, frozenset(asked), propensity)
            likely *= beta
            continue
        asked.add(i)
        level = i
        parameters = tensors[f"deferral.{i}"].astype(np.float64)
        f = float(forward(parameters, _LABELS, _HIDDEN, opinions[i][None])[0][0])
        if chosen.action == "sample":
            chance, defer = f, coins(seed, f"action/{i}", [event])[0] < f
        else:
            chance, defer = float(f > 0.5), f > 0.5
        if not defer:
            return Walked(False, Reason.ACCEPTED, level, frozenset(asked), propensity)
        likely *= (1 - beta) * chance
    return Walked(True, Reason.POLICY, level, frozenset(asked), propensity + likely)


@settings(max_examples=120, deadline=None)
@given(
    levels=st.sampled_from([1, 3]),
    jump=st.sampled_from(["expert", "next"]),
    action=st.sampled_from(["threshold", "sample"]),
    warmup=st.sampled_from([0, 10]),
    updates=st.lists(st.integers(0, 40), min_size=3, max_size=3),
    decays=st.lists(st.floats(0.8, 0.99), min_size=3, max_size=3),
    shared=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    events=st.integers(1, 12),
)
def test_every_event_takes_the_turns_of_algorithm_1(
    levels: int,
    jump: Literal["expert", "next"],
    action: Literal["threshold", "sample"],
    warmup: int,
    updates: list[int],
    decays: list[float],
    shared: bool,
    seed: int,
    events: int,
) -> None:
    gates = tuple(GateSettings(decay=decay) for decay in decays[: 1 if shared else levels])
    chosen = PaperSettings(
        jump=jump, action=action, warmup_updates=warmup, gates=gates, hidden=_HIDDEN
    )
    tensors = random_release(seed, levels, updates[:levels])
    table = np.random.default_rng(seed).dirichlet(np.ones(_LABELS), size=(levels, events))
    asked = FakeChunk(table, [f"e{number}" for number in range(events)])
    routing = policy(chosen, tensors, levels, seed=seed).route(asked, _FRESH)
    for row, name in enumerate(asked.ids):
        walked = algorithm_1(chosen, tensors, list(table[:, row]), name, seed)
        assert routing.sent[row] == walked.sent
        assert routing.reasons[row] is walked.reason
        assert routing.level[row] == walked.level
        assert routing.propensity[row] == pytest.approx(walked.propensity)
        assert {i for i in range(levels) if row in asked.asked[i]} == walked.asked
        # The answer is that of the last level reached, and of it alone.
        assert np.array_equal(routing.probabilities[row], table[walked.level, row])
    assert not routing.degraded.any()


_DEFAULTS = PaperSettings(warmup_updates=0, hidden=_HIDDEN)


def frequency(chosen: PaperSettings, f: float, updates: int) -> tuple[float, dict[Reason, float]]:
    """How often one event is sent, over many seeds, and what is logged for each reason."""
    tensors = release([constant(f)], [updates])
    one, runs, sent, logged = [confident(0.7)], 3000, 0, {}
    for seed in range(runs):
        served = policy(chosen, tensors, labels=2, seed=seed)
        routing = served.route(chunk(one), _FRESH)
        sent += int(routing.sent[0])
        logged[routing.reasons[0]] = float(routing.propensity[0])
    return sent / runs, logged


_BETA = 0.97**20  # 0.54


def test_the_propensity_of_an_accepted_answer_is_how_often_it_is_sent() -> None:
    often, logged = frequency(_DEFAULTS, 0.2, 20)
    assert often == pytest.approx(_BETA, abs=0.03)
    assert logged == {Reason.ACCEPTED: pytest.approx(_BETA), Reason.JUMP: pytest.approx(_BETA)}


def test_the_propensity_of_a_deferred_event_is_one() -> None:
    often, logged = frequency(_DEFAULTS, 0.8, 20)
    assert often == 1
    assert logged[Reason.POLICY] == pytest.approx(1)
    # A jump does not know how the level that it skips would have voted: a lower bound.
    assert logged[Reason.JUMP] == pytest.approx(_BETA)


def test_the_propensity_of_a_sampled_deferral_is_how_often_it_is_sent() -> None:
    often, logged = frequency(_DEFAULTS.model_copy(update={"action": "sample"}), 0.3, 20)
    exact = _BETA + (1 - _BETA) * 0.3
    assert often == pytest.approx(exact, abs=0.03)
    assert logged[Reason.POLICY] == pytest.approx(exact)
    assert all(value <= exact + 1e-6 for value in logged.values())


def test_a_jump_leads_to_the_expert_or_to_the_next_level() -> None:
    """Betas of one at the first level, of nothing at the second, which accepts all."""
    tensors = release([constant(0.1), constant(0.1)], [0, 10_000])
    routings = {}
    for jump in ("expert", "next"):
        chosen = _DEFAULTS.model_copy(update={"jump": jump})
        asked = chunk([confident(0.7)] * 5, [confident(0.8)] * 5)
        routings[jump] = policy(chosen, tensors, 2, labels=2).route(asked, _FRESH)
        assert asked.asked[1] == (set() if jump == "expert" else set(range(5)))
    assert routings["expert"].sent.all()
    assert set(routings["expert"].reasons) == {Reason.JUMP}
    assert not routings["next"].sent.any()
    assert routings["next"].level.tolist() == [1] * 5


def test_a_sampled_action_defers_a_share_and_a_threshold_all_or_none() -> None:
    tensors = release([constant(0.3)], [10_000])
    share = {}
    for action in ("threshold", "sample"):
        chosen = _DEFAULTS.model_copy(update={"action": action})
        asked = chunk([confident(0.7)] * 2000)
        share[action] = policy(chosen, tensors, labels=2).route(asked, _FRESH).sent.mean()
    assert share["threshold"] == 0
    assert share["sample"] == pytest.approx(0.3, abs=0.05)


def test_warm_up_lasts_until_each_level_was_updated_often_enough() -> None:
    chosen = PaperSettings(hidden=_HIDDEN)
    accepting = [constant(0.1), constant(0.1)]
    for updates, warm in [([10, 9], False), ([9, 10], False), ([10, 10], True)]:
        routing = policy(chosen, release(accepting, updates), 2, labels=2).route(
            chunk([confident(0.7)] * 200, [confident(0.7)] * 200), _FRESH
        )
        assert (set(routing.reasons) == {Reason.WARMUP}) is not warm
        if not warm:
            assert routing.sent.all()
            assert set(routing.propensity) == {1.0}


def test_before_the_first_release_everything_goes_to_the_expert() -> None:
    asked = chunk([confident(0.7)] * 3)
    routing = policy(_DEFAULTS, None, labels=2).route(asked, _FRESH)
    assert routing.sent.all()
    assert set(routing.reasons) == {Reason.WARMUP}
    # The opinion that goes out if the expert gives no answer.
    assert routing.probabilities == pytest.approx(np.array([confident(0.7)] * 3))


def test_beta_decays_with_the_updates_of_the_level() -> None:
    chosen = _DEFAULTS.model_copy(update={"gates": (GateSettings(decay=0.9),)})
    shares = []
    for updates in (0, 5, 20, 1000):
        tensors = release([constant(0.1)], [updates])
        routing = policy(chosen, tensors, labels=2).route(chunk([confident(0.7)] * 2000), _FRESH)
        assert routing.propensity == pytest.approx(np.full(2000, 0.9**updates))
        shares.append(routing.sent.mean())
    assert shares == pytest.approx([1, 0.9**5, 0.9**20, 0], abs=0.05)


@settings(max_examples=40, deadline=None)
@given(
    calls=st.integers(0, 60),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    levels=st.sampled_from([1, 2]),
    updates=st.integers(0, 40),
    seed=st.integers(0, 999),
)
def test_the_cap_holds(calls: int, sizes: list[int], levels: int, updates: int, seed: int) -> None:
    budget = BudgetSettings(calls=calls, events=100)
    tensors = random_release(seed, levels, [updates] * levels)
    served = policy(PaperSettings(hidden=_HIDDEN), tensors, levels, budget=budget, seed=seed)
    random, usage = np.random.default_rng(seed), _FRESH
    for number in sizes:
        table = random.dirichlet(np.ones(_LABELS), size=(levels, number))
        ids = [f"e{usage.seen + row}" for row in range(number)]
        routing = served.route(FakeChunk(table, ids), usage)
        total = usage.deferred + int(routing.sent.sum())
        assert total <= calls
        refused = np.array([reason is Reason.BUDGET for reason in routing.reasons])
        assert np.array_equal(refused, routing.degraded)
        assert not (refused & routing.sent).any()
        assert not routing.propensity[refused].any()
        assert (routing.propensity[routing.sent] > 0).all()
        if calls == usage.reserved:
            assert not routing.propensity.any()
        usage = replace(
            usage, seen=usage.seen + number, deferred=total, settled=total, reserved=total
        )


def test_what_is_left_goes_to_the_least_sure() -> None:
    served = policy(_DEFAULTS, None, labels=2, budget=BudgetSettings(calls=2, events=5))
    routing = served.route(chunk([confident(c) for c in (0.9, 0.6, 0.8, 0.5, 0.7)]), _FRESH)
    assert routing.sent.tolist() == [False, True, False, True, False]
    assert routing.degraded.tolist() == [True, False, True, False, True]


def test_an_empty_chunk_is_routed() -> None:
    tensors = random_release(0, 2, [20, 20])
    routing = policy(PaperSettings(hidden=_HIDDEN), tensors, 2).route(
        FakeChunk(np.zeros((2, 0, _LABELS)), []), _FRESH
    )
    assert routing.sent.shape == (0,)


@pytest.mark.parametrize(
    "change",
    [
        {"updates": None},
        {"updates": np.array([1], np.int64)},
        {"updates": np.array([1, 1], np.int32)},
        {"deferral.1": None},
        {"deferral.0": np.zeros(size(_LABELS + 1, _HIDDEN), np.float32)},
        {"deferral.0": np.zeros(size(_LABELS, _HIDDEN), np.float64)},
    ],
)
def test_a_release_that_does_not_fit_changes_nothing(change: dict[str, Any]) -> None:
    sound = random_release(0, 2, [20, 20])
    served = policy(PaperSettings(hidden=_HIDDEN), sound, 2)
    before = served._weights
    broken = {name: array for name, array in (sound | change).items() if array is not None}
    with pytest.raises(TensorMismatch, match="Operator action"):
        served.stage(broken)
    assert served._weights is before


def test_one_gate_serves_all_levels() -> None:
    one = PaperSettings(gates=(GateSettings(decay=0.5),))
    assert [gate.decay for gate in gates_for(one, 3)] == [0.5] * 3
    two = PaperSettings(gates=(GateSettings(decay=0.5), GateSettings(decay=0.6)))
    assert [gate.decay for gate in gates_for(two, 2)] == [0.5, 0.6]
    for levels in (1, 3):
        with pytest.raises(ValueError, match=f"each of the {levels} small levels"):
            gates_for(two, levels)


def test_it_keeps_no_scores() -> None:
    served = policy(_DEFAULTS, None)
    served.recall([0.5])
    assert served.recent() == []

"""The spending plan: a cap that holds whatever happens, and a rate that steers towards it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from model_store.ledger import Usage
from operators.budget import SpendingPlan, committed
from operators.settings import BudgetSettings
from tests.operators.fakes import memory_ledger

_BUDGETS = st.one_of(
    st.builds(
        BudgetSettings,
        calls=st.integers(0, 5000),
        events=st.integers(1, 10_000),
        pace=st.floats(0.1, 2),
    ),
    st.builds(BudgetSettings, share=st.floats(0.001, 1), burst=st.integers(0, 2000)),
)
_COUNT = st.integers(0, 20_000)


def used(seen: int, reserved: int = 0, *, flying: int = 0) -> Usage:
    return Usage(seen=seen, deferred=reserved + flying, settled=reserved, reserved=reserved)


@given(budget=_BUDGETS, seen=_COUNT, reserved=_COUNT, horizon=st.integers(1, 1000))
def test_rate_is_a_share_and_left_never_negative(
    budget: BudgetSettings, seen: int, reserved: int, horizon: int
) -> None:
    plan = SpendingPlan(budget)
    usage = used(seen, reserved)
    left, cap = plan.left(usage), plan.cap(seen)
    assert cap is not None
    assert left == max(0, cap - reserved)
    assert 0 <= plan.rate(usage, horizon) <= plan.early_rate(usage, horizon) <= 1


@given(budget=_BUDGETS, seen=_COUNT, step=st.integers(0, 500), pace=st.floats(0.1, 2))
def test_the_plan_and_the_cap_only_grow_and_the_plan_stays_below(
    budget: BudgetSettings, seen: int, step: int, pace: float
) -> None:
    plan = SpendingPlan(budget)
    now, later = (plan._planned(used(at), 0, pace) for at in (seen, seen + step))
    assert 0 <= now <= later + 1e-9
    cap, cap_later = plan.cap(seen), plan.cap(seen + step)
    assert cap is not None
    assert cap_later is not None
    assert cap <= cap_later
    assert now < cap + 1 + 1e-9


@given(budget=_BUDGETS, seen=_COUNT, reserved=st.integers(0, 500), more=st.integers(1, 500))
def test_whoever_has_spent_more_spends_less_from_now_on(
    budget: BudgetSettings, seen: int, reserved: int, more: int
) -> None:
    plan = SpendingPlan(budget)
    assert plan.rate(used(seen, reserved + more), 100) <= plan.rate(used(seen, reserved), 100)
    # A deferral whose verdict is not there yet counts as spent.
    assert plan.left(used(seen, reserved, flying=more)) == plan.left(used(seen, reserved + more))


def test_pace() -> None:
    plan = SpendingPlan(BudgetSettings(calls=100, events=1000, pace=1))
    assert plan._planned(used(250), 0, 1) == pytest.approx(25)
    assert plan._planned(used(250), 0, 0.5) == pytest.approx(50)
    for pace in (0.5, 1):
        ends = [plan._planned(used(seen), 0, pace) for seen in (0, 1000, 5000)]
        assert ends == pytest.approx([0, 100, 100])


def test_early_is_ahead_of_the_pace_and_never_behind() -> None:
    even = SpendingPlan(BudgetSettings(calls=100, events=1000, pace=1))
    assert even.rate(used(250, 25), 1) == pytest.approx(0.1)
    assert even.early_rate(used(249, 49), 1) == pytest.approx(1)
    assert even.early_rate(used(250, 60), 1) == 0
    hasty = SpendingPlan(BudgetSettings(calls=100, events=1000, pace=0.3))
    assert hasty.early_rate(used(250, 50), 100) == hasty.rate(used(250, 50), 100) > 0.1


def test_on_plan_the_rate_is_the_slope_of_the_plan() -> None:
    plan = SpendingPlan(BudgetSettings(calls=100, events=1000, pace=1))
    assert plan.rate(used(500, 50), 100) == pytest.approx(0.1)
    assert plan.rate(used(500, 55), 100) == pytest.approx(0.05)
    assert plan.rate(used(500, 60), 100) == 0
    assert plan.rate(used(1000, 100), 100) == 0


def test_a_share_starts_above_its_rate_and_settles_at_it() -> None:
    plan = SpendingPlan(BudgetSettings(share=0.1, burst=500))
    first, far = plan._planned(used(10), 0, 1), plan._planned(used(10**6), 0, 1)
    assert 0.1 * 13 < first < 0.1 * 21
    assert plan._planned(used(10**6 + 1000), 0, 1) - far == pytest.approx(100, rel=1e-3)
    assert 0.1 * 10**6 <= far <= 0.1 * (10**6 + 500)
    assert plan.cap(0) == 50
    assert SpendingPlan(BudgetSettings(share=0.1, burst=0)).cap(9) == 0
    assert SpendingPlan(BudgetSettings(share=0.1, burst=0)).cap(10) == 1


def test_without_a_budget_nothing_is_limited() -> None:
    plan = SpendingPlan(None)
    assert plan.cap(10**9) is None
    assert plan.left(used(10, 10**9)) is None
    assert plan.rate(used(10, 10**9), 100) == 1


def test_calls_over_a_stream_of_unknown_length_are_no_plan() -> None:
    with pytest.raises(ValueError, match=r"budget\.calls needs budget\.events"):
        SpendingPlan(BudgetSettings(calls=10))


def test_committed_counts_each_deferral_once_and_retries_on_top() -> None:
    assert committed(Usage(seen=9, deferred=5, settled=2, reserved=3)) == 5
    assert committed(Usage(seen=9, deferred=5, settled=5, reserved=5)) == 5
    assert committed(Usage(seen=9, deferred=2, settled=2, reserved=5)) == 5
    assert committed(Usage(seen=9, deferred=5, settled=2, reserved=4, retried=2)) == 7


def test_what_was_given_back_is_not_committed() -> None:
    usage = Usage(seen=9, deferred=5, settled=5, reserved=3, retried=1, refunded=3)
    assert committed(usage) == 3


def test_a_part_of_the_calls_is_kept_for_when_something_was_learned() -> None:
    plan = SpendingPlan(BudgetSettings(calls=1000, events=5000))
    assert plan.left_to_warm_up(used(0)) == 150
    assert plan.left_to_warm_up(used(100, 140)) == 10
    assert plan.left_to_warm_up(used(100, 200)) == 0
    share = SpendingPlan(BudgetSettings(share=0.1, burst=500))
    assert share.left_to_warm_up(used(0)) == share.left(used(0)) == 50
    assert SpendingPlan(None).left_to_warm_up(used(10)) is None


def test_a_share_goes_on_where_the_name_stopped() -> None:
    plan = SpendingPlan(BudgetSettings(share=0.1, burst=100))
    stopped = Usage(seen=5000, deferred=510, settled=510, reserved=510)
    begun = Usage(
        seen=0, deferred=0, settled=0, reserved=510, seen_before=5000, reserved_before=510
    )
    assert plan.left(begun) == plan.left(stopped) == 0
    assert plan.left(begun, 100) == 10
    assert plan.rate(begun, 1000) == plan.rate(stopped, 1000) > 0.09


def test_what_is_left_of_the_calls_is_spread_over_the_next_stream() -> None:
    plan = SpendingPlan(BudgetSettings(calls=100, events=1000, pace=1))
    begun = Usage(seen=0, deferred=0, settled=0, reserved=60, seen_before=800, reserved_before=60)
    assert plan.rate(begun, 100) == pytest.approx(0.04)
    assert plan.left_to_warm_up(begun) == 6
    spent = Usage(seen=0, deferred=0, settled=0, reserved=100, reserved_before=100)
    assert plan.rate(spent, 100) == plan.left(spent) == plan.left_to_warm_up(spent) == 0


class Spending(RuleBasedStateMachine):
    """Shards decide, calls are reserved, verdicts settle, in any order and any number of times."""

    budget: BudgetSettings

    def __init__(self) -> None:
        super().__init__()
        self.plan = SpendingPlan(self.budget)
        self.ledger = memory_ledger()
        self.shards: dict[str, tuple[int, int]] = {}
        self.settled = 0
        self.calls = 0
        self.most_seen = 0

    @rule(shard=st.sampled_from("ab"), events=st.integers(1, 60), wanted=st.integers(0, 60))
    def decide(self, shard: str, events: int, wanted: int) -> None:
        left = self.plan.left(self.ledger.usage())
        assert left is not None
        seen, deferred = self.shards.get(shard, (0, 0))
        granted = min(wanted, events, left)
        self.shards[shard] = (seen + events, deferred + granted)
        self.ledger.progress(shard, seen=seen + events, deferred=deferred + granted)

    @rule(count=st.integers(1, 40), again=st.booleans())
    def call(self, count: int, again: bool) -> None:
        start = 0 if again else self.calls
        cap = self.plan.cap(self.ledger.usage().seen_ever)
        names = [f"call-{start + number}" for number in range(count)]
        self.calls = max(self.calls, start + count)
        self.ledger.reserve(names, cap)

    @rule(count=st.integers(1, 30))
    def settle(self, count: int) -> None:
        self.settled += count
        self.ledger.settle(self.settled)

    @rule()
    def begin_under_the_same_name(self) -> None:
        before = self.ledger.usage()
        begun = self.ledger.begin()
        self.shards.clear()
        self.settled = 0
        assert begun.seen_ever == before.seen_ever
        assert self.plan.cap(begun.seen_ever) == self.plan.cap(before.seen_ever)
        assert committed(begun) == begun.reserved == before.reserved

    @invariant()
    def never_more_calls_than_the_cap(self) -> None:
        usage = self.ledger.usage()
        cap = self.plan.cap(usage.seen_ever)
        assert cap is not None
        assert usage.reserved <= cap
        if self.budget.share is not None:
            assert usage.reserved <= math.floor(
                self.budget.share * (usage.seen_ever + self.budget.burst)
            )


class SpendingCalls(Spending):
    budget = BudgetSettings(calls=70, events=400)


class SpendingAShare(Spending):
    budget = BudgetSettings(share=0.3, burst=20)


_SMALL = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestSpendingCalls = SpendingCalls.TestCase
TestSpendingCalls.settings = _SMALL
TestSpendingAShare = SpendingAShare.TestCase
TestSpendingAShare.settings = _SMALL

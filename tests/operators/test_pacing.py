"""Budgets that go by the clock, on streams of changing rate: held, used, and spread."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.ledger import Usage
from model_store.memory_ledger import MemoryLedger
from model_store.window import Window
from operators.audit.chances import AuditChances
from operators.pacing import RatePlan, plan_of
from operators.policy.budgeted import BudgetedPolicy
from operators.records import Reason
from operators.settings import BudgetedSettings, BudgetSettings, CascadeSettings
from tests.operators.fakes import chunk

HOUR_S = 3600.0
BINS = 12  # of a window
Cost = Callable[[np.random.Generator], tuple[int, int]]
Traffic = Callable[[float], float]


@dataclass
class Stream:
    """Subtasks that route random events by one ledger, on a clock that is turned by hand.

    Every call takes `latency_s`, and then tells its cost, but for a share of `dying` callers.
    """

    window: Window
    cost: Cost = lambda _: (1, 1)
    typical: int = 1
    latency_s: float = 1.0
    subtasks: int = 1
    dying: float = 0.0
    now_s: float = 0.0
    spent: list[tuple[float, int]] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.ledger = MemoryLedger(ttl_s=1e9, monotonic=self.clock, window=self.window)
        self.policies = [
            BudgetedPolicy(
                BudgetedSettings(),
                1,
                RatePlan(self.window, self.typical, self.clock),
                seed=0,
                audits=AuditChances(0.01, 0.005),
            )
            for _ in range(self.subtasks)
        ]
        self.usages = [self.ledger.usage()] * self.subtasks
        self.seen, self.deferred = [0] * self.subtasks, [0] * self.subtasks
        self.flying: deque[tuple[float, str, int]] = deque()

    def clock(self) -> float:
        return self.now_s

    def go_on(self, until_s: float, step_s: float, traffic: Traffic) -> None:
        while self.now_s < until_s:
            self.now_s += step_s
            while self.flying and self.flying[0][0] <= self.now_s:
                _, name, took = self.flying.popleft()
                self.ledger.correct({name: took})
            for subtask in range(self.subtasks):
                mean = traffic(self.now_s) * step_s / self.subtasks
                self.take(subtask, int(self.random.poisson(mean)))

    def take(self, subtask: int, events: int) -> None:
        if not events:
            return
        first = len(self.reasons)
        scores = self.random.uniform(0, 0.5, events)
        asked = chunk([[1 - s, s] for s in scores], first=first)
        routing = self.policies[subtask].route(asked, self.usages[subtask])
        self.reasons += routing.reasons
        self.seen[subtask] += events
        self.deferred[subtask] += int(routing.sent.sum())
        self.usages[subtask] = self.ledger.progress(
            str(subtask), seen=self.seen[subtask], deferred=self.deferred[subtask]
        )
        for row in np.flatnonzero(routing.sent):
            most, took = self.cost(self.random)
            if self.ledger.reserve([f"{first + row}"], None, amounts=[most])[0]:
                dies = self.random.random() < self.dying
                self.spent.append((self.now_s, most if dies else took))
                if not dies:
                    self.flying.append((self.now_s + self.latency_s, f"{first + row}", took))

    def used(self) -> float:
        """Share of what could be spent."""
        windows = self.now_s / self.window.length_s
        return sum(took for _, took in self.spent) / (self.window.limit * windows)

    def most_in_a_window(self) -> float:
        """The most that was spent in any stretch, as a share of the limit."""
        times = np.array([at for at, _ in self.spent])
        total = np.concatenate([[0], np.cumsum([took for _, took in self.spent])])
        ends = np.searchsorted(times, times + self.window.length_s, side="right")
        return float((total[ends] - total[: len(times)]).max() / self.window.limit)

    def by_bin(self) -> npt.NDArray[np.float64]:
        """What was spent in each twelfth of a window, as a share of an even part."""
        bins = round(BINS * self.now_s / self.window.length_s)
        times, took = zip(*self.spent, strict=True)
        counted, _ = np.histogram(times, bins=bins, range=(0, self.now_s), weights=took)
        return np.asarray(counted * BINS / self.window.limit)


TRAFFIC: dict[str, Traffic] = {
    "steady": lambda _: 5.0,
    "tides": lambda s: 5 * (1 + 0.9 * math.sin(2 * math.pi * s / 7200)),
    "bursts": lambda s: 100.0 if s % HOUR_S < 120 else 2.0,
}
PER_HOUR = BudgetSettings(per_hour=1000)


def hour(budget: BudgetSettings = PER_HOUR) -> Window:
    assert budget.window is not None
    return budget.window


@pytest.mark.parametrize("subtasks", [1, 4])
@pytest.mark.parametrize("kind", TRAFFIC)
def test_an_endless_stream_uses_its_budget_evenly_and_never_more(kind: str, subtasks: int) -> None:
    stream = Stream(hour(), subtasks=subtasks)
    stream.go_on(2.5 * HOUR_S, 2.0, TRAFFIC[kind])
    assert stream.most_in_a_window() <= 1
    assert stream.used() >= 0.95
    # Spread: the share of a budget that is spent in five minutes is never far from a twelfth.
    assert stream.by_bin().min() >= 0.4
    assert stream.by_bin().max() <= 1.6
    # Hardly an event that should have been asked is refused: the threshold rises instead.
    assert stream.ledger.usage().refused < 0.01 * len(stream.spent)
    assert stream.reasons.count(Reason.BUDGET) < 0.025 * len(stream.reasons)


def test_money_is_used_by_what_calls_have_cost() -> None:
    """They are drawn at more than twice that."""

    def cost(random: np.random.Generator) -> tuple[int, int]:
        took = int(random.integers(20_000, 50_000))
        return 80_000, took

    window = hour(BudgetSettings(usd_per_hour=0.05))
    stream = Stream(window, cost, typical=90_000, latency_s=2.0)
    stream.go_on(3 * HOUR_S, 2.0, TRAFFIC["tides"])
    assert stream.most_in_a_window() <= 1
    assert stream.used() >= 0.95
    assert stream.by_bin().max() <= 1.6


def test_tokens_of_a_minute_are_used_but_for_what_is_in_flight_at_its_most() -> None:
    def cost(random: np.random.Generator) -> tuple[int, int]:
        took = int(random.integers(200, 300))
        return 2 * took, took

    window = BudgetSettings(tokens_per_minute=200_000).window
    assert window is not None
    stream = Stream(window, cost, typical=600, latency_s=0.5)
    stream.go_on(600, 0.2, lambda s: 60 + 40 * math.sin(s / 40))
    assert stream.most_in_a_window() <= 1
    assert stream.used() >= 0.95


def test_callers_that_die_cost_their_most_and_not_the_limit() -> None:
    stream = Stream(hour(BudgetSettings(per_hour=20_000)), lambda _: (30, 10), 30, dying=0.2)
    stream.go_on(2 * HOUR_S, 2.0, TRAFFIC["steady"])
    assert stream.most_in_a_window() <= 1
    assert stream.used() >= 0.95


def test_what_was_not_spent_is_not_spent_at_once_later() -> None:
    stream = Stream(hour())
    stream.go_on(HOUR_S, 2.0, lambda _: 0.01)
    before = len(stream.spent)
    assert before < 50  # all that came was asked
    stream.go_on(HOUR_S + 300, 2.0, lambda _: 50.0)
    # Five minutes' worth, and what three minutes save.
    assert 80 <= len(stream.spent) - before <= 1000 * (300 + 180) / HOUR_S


def test_a_chunk_as_large_as_an_hour_empties_nothing() -> None:
    stream = Stream(hour())
    stream.go_on(600, 2.0, TRAFFIC["steady"])
    before = len(stream.spent)
    stream.now_s += 2.0
    stream.take(0, 18_000)
    assert len(stream.spent) - before <= 50


def test_a_few_calls_an_hour_are_made() -> None:
    for calls in (1, 5):
        stream = Stream(hour(BudgetSettings(per_hour=calls)))
        stream.go_on(4 * HOUR_S, 10.0, lambda _: 0.5)
        assert len(stream.spent) == 4 * calls
        assert stream.most_in_a_window() <= 1


steps = st.lists(
    st.tuples(
        st.floats(0, 5000), st.integers(-50, 500), st.integers(-20, 300), st.integers(-100, 900)
    ),
    max_size=20,
)


@given(steps=steps, limit=st.integers(1, 10**6), events=st.integers(0, 2000))
def test_whatever_the_counts_say_the_plan_stays_within_reason(
    steps: list[tuple[float, int, int, int]], limit: int, events: int
) -> None:
    """They go back in a restore, and lag behind what happens."""
    now_s = [0.0]
    plan = RatePlan(Window(limit, HOUR_S), 1, lambda: now_s[0])
    seen = deferred = spent = 0
    for wait, more, sent, cost in steps:
        now_s[0] += wait
        seen, deferred = max(0, seen + more), max(0, deferred + sent)
        spent = max(0, spent + cost)
        usage = Usage(
            seen=max(seen, deferred),
            deferred=deferred,
            settled=0,
            reserved=deferred,
            spent=spent,
            drawn=min(spent, limit),
        )
        plan.look(usage, events)
        assert 0 <= plan.rate(usage, 100) <= 1
        assert 0 <= plan.left(usage, events) <= limit
        assert plan.left_to_warm_up(usage, events) == plan.left(usage, events)
        assert plan.remaining(usage) >= 0
        assert plan.cap(seen) is None


def test_what_is_left_is_told_in_calls() -> None:
    plan = RatePlan(Window(1000, HOUR_S), 50, lambda: 0.0)
    fresh = Usage(seen=0, deferred=0, settled=0, reserved=0)
    assert plan.remaining(fresh) == 20
    spent = Usage(seen=9, deferred=9, settled=9, reserved=9, spent=90, drawn=900)
    assert plan.remaining(spent) == 10


def test_the_plan_of_a_job_follows_its_budget() -> None:
    content = {
        "task": {"name": "t", "labels": ["a", "b"], "prompt": "Which?"},
        "expert": {"kind": "openai", "model": "m"},
    }

    def plan(**budget: float) -> object:
        job = CascadeSettings.model_validate(content | {"budget": budget})
        return plan_of(job, lambda: 0.0)

    assert not isinstance(plan(share=0.1), RatePlan)
    assert isinstance(plan(per_hour=5), RatePlan)
    few = plan(tokens_per_minute=1000)
    assert isinstance(few, RatePlan)
    # A call is taken to need all that it can until one has told.
    assert few.remaining(Usage(seen=0, deferred=0, settled=0, reserved=0)) <= 3

"""An expert that follows a script, and a desk in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from model_store.ledger import Ledger
from operators.budget import Plan, SpendingPlan
from operators.expert.breaker import Breaker
from operators.expert.desk import ExpertDesk
from operators.expert.port import ExpertError, ExpertUnavailable, Reply
from operators.expert.tariff import Tariff
from operators.pacing import RatePlan
from operators.records import Deferral, Event, Reason, Verdict
from operators.settings import BreakerSettings, BudgetSettings, PriceSettings, RetrySettings
from tests.operators.fakes import memory_ledger

Step = Reply | ExpertError
OK = Reply("ok", tokens_in=10, tokens_out=2)


@dataclass
class ScriptedExpert:
    """An `Expert` that follows a script for each text, then answers.

    Counts the calls that are made, and those that it received as a provider would.
    """

    script: Mapping[str, Sequence[Step]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    received: int = 0
    flying: int = 0
    most_flying: int = 0

    async def ask(self, event: Event) -> Reply:
        number = self.calls.count(event.text)
        self.calls.append(event.text)
        self.flying += 1
        self.most_flying = max(self.most_flying, self.flying)
        for _ in range(3):  # let the others in
            await asyncio.sleep(0)
        self.flying -= 1
        steps = self.script.get(event.text, ())
        step = steps[number] if number < len(steps) else OK
        self.received += isinstance(step, Reply) or step.reached
        if isinstance(step, ExpertError):
            raise step
        return step

    def most_tokens(self, event: Event) -> tuple[int, int]:
        return 100 + len(event.text), 10

    async def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class Clock:
    """Time that passes only while somebody waits."""

    now: float = 0.0
    waits: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


def deferral(one: Event) -> Deferral:
    return Deferral(one, (), (0.5, 0.5), "linear", Reason.POLICY, 1.0, None)


def answer(
    expert: ScriptedExpert,
    events: Sequence[Event],
    *,
    ledger: Ledger | None = None,
    calls: int | None = None,
    budget: BudgetSettings | None = None,
    retry: RetrySettings | None = None,
    price: PriceSettings | None = None,
    breaker: BreakerSettings | None = None,
    concurrency: int = 4,
    clock: Clock | None = None,
    excess: list[int] | None = None,
) -> list[Verdict]:
    clock = Clock() if clock is None else clock
    price = PriceSettings() if price is None else price
    plan: Plan = SpendingPlan(None if calls is None else BudgetSettings(calls=calls, events=100))
    if budget is not None:
        assert budget.window is not None
        plan = RatePlan(budget.window, 1, clock.monotonic)

    async def run() -> list[Verdict]:
        desk = ExpertDesk(
            expert,
            ("ok", "spam"),
            memory_ledger() if ledger is None else ledger,
            plan,
            tariff=None if budget is None else Tariff(budget, price),
            retry=RetrySettings() if retry is None else retry,
            price=price,
            breaker=Breaker(BreakerSettings() if breaker is None else breaker, clock.monotonic),
            concurrency=concurrency,
            sleep=clock.sleep,
            monotonic=clock.monotonic,
            on_excess=lambda: None if excess is None else excess.append(1),
        )
        return await desk.answer([deferral(one) for one in events])

    return asyncio.run(run())


def down(kind: str = "timeout", after: float | None = None) -> ExpertUnavailable:
    """A failure after which the expert may have got the request."""
    return ExpertUnavailable(kind, retry_after_s=after)


def nobody() -> ExpertUnavailable:
    """A failure before that."""
    return ExpertUnavailable("connection", reached=False)

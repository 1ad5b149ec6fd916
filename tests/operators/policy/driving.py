"""Streams of scores for the budgeted policy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model_store.ledger import Usage
from operators.audit.chances import AuditChances
from operators.budget import SpendingPlan
from operators.policy.budgeted import BudgetedPolicy
from operators.policy.port import Routing
from operators.records import Reason
from operators.settings import BudgetedSettings, BudgetSettings
from tests.operators.fakes import chunk, memory_ledger

FloatArray = npt.NDArray[np.float64]
FRESH = Usage(seen=0, deferred=0, settled=0, reserved=0)
NO_AUDIT = BudgetedSettings(audit=0)
KINDS = ("uniform", "all equal", "all certain", "two values", "mostly certain")


def policy(
    chosen: BudgetedSettings = NO_AUDIT,
    budget: BudgetSettings | None = None,
    levels: int = 1,
    seed: int = 0,
) -> BudgetedPolicy:
    return BudgetedPolicy(chosen, levels, SpendingPlan(budget), seed, audits_of(chosen))


def audits_of(chosen: BudgetedSettings) -> AuditChances:
    mean = 0.02 if chosen.audit is None else chosen.audit
    return AuditChances(mean, chosen.audit_least * mean)


def drive(
    served: BudgetedPolicy,
    scores: Sequence[float],
    sizes: Sequence[int],
    budget: BudgetSettings,
) -> list[Routing]:
    """Run a stream of events of these deferral scores; every call is granted and settled at once.

    Asserts at each step that the cap holds.
    """
    plan, ledger, deferred, at = SpendingPlan(budget), memory_ledger(), 0, 0
    routings = []
    for size in sizes:
        part = scores[at : at + size]
        routing = served.route(chunk([[1 - s, s] for s in part], first=at), ledger.usage())
        at += size
        deferred += int(routing.sent.sum())
        ledger.progress("shard", seen=at, deferred=deferred)
        cap = plan.cap(at)
        assert all(ledger.reserve([f"{at}/{n}" for n in range(int(routing.sent.sum()))], cap))
        ledger.settle(deferred)
        assert cap is not None
        assert deferred <= cap
        routings.append(routing)
    return routings


def cut(events: int, size: int) -> list[int]:
    return [min(size, events - start) for start in range(0, events, size)]


def reasons(routings: Sequence[Routing]) -> list[Reason]:
    return [reason for routing in routings for reason in routing.reasons]


def spent(routings: Sequence[Routing]) -> int:
    return sum(int(routing.sent.sum()) for routing in routings)


def scores_like(kind: str, seed: int, events: int) -> list[float]:
    random = np.random.default_rng(seed)
    drawn: dict[str, FloatArray] = {
        "uniform": random.uniform(0, 0.5, events),
        "all equal": np.full(events, 0.3),
        "all certain": np.zeros(events),
        "two values": np.where(random.random(events) < 0.1, 0.4, 0.1),
        "mostly certain": random.beta(0.2, 4, events) / 2,
    }
    return [float(score) for score in drawn[kind]]

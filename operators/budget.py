"""The spending plan: how many calls may have been made by now, and the rate to go on at."""

from __future__ import annotations

import math
from typing import Protocol

from model_store.ledger import Usage
from operators.settings import BudgetSettings

_AHEAD = 0.7  # of the burst
_WARM_UP = 0.15  # share of all calls that may go before the first release
_EARLY_PACE = 0.5  # exponent of the plan for the events that are most in doubt


class Plan(Protocol):
    """What may be spent by now, and the rate to go on at."""

    def look(self, usage: Usage, events: int) -> None:
        """Take note that a chunk of so many events is about to be routed; before all else."""

    def cap(self, seen: int) -> int | None:
        """Calls that may have been reserved at the most once `seen` events were ever decided."""

    def left(self, usage: Usage, events: int = 0) -> int | None:
        """Calls that can be spent on `events` more."""

    def left_to_warm_up(self, usage: Usage, events: int = 0) -> int | None:
        """Calls that may be spent on them before anything was learned."""

    def remaining(self, usage: Usage) -> int | None:
        """Calls that can still be reserved, whatever the plan says; None for no limit."""

    def rate(self, usage: Usage, horizon: int) -> float:
        """Share of the next `horizon` events that should be sent, to be on plan after them."""

    def early_rate(self, usage: Usage, horizon: int) -> float:
        """The same if what is sent is worth being ahead of the plan; never less than `rate`."""


class SpendingPlan:
    """Turns a budget of calls, or of a share of the events, into a hard cap and a rate.

    Parameters
    ----------
    budget
        What may be spent, not by the clock; None for no limit.

    Raises
    ------
    ValueError
        If the budget counts calls over the whole stream, but not over how many events.
    """

    def __init__(self, budget: BudgetSettings | None) -> None:
        if budget is not None and budget.calls is not None and budget.events is None:
            message = "budget.calls needs budget.events for a source whose length is not known"
            raise ValueError(message)
        self._budget = budget

    def look(self, usage: Usage, events: int) -> None:
        """Nothing: all that counts is in the ledger."""

    def cap(self, seen: int) -> int | None:
        """See `Plan.cap`."""
        budget = self._budget
        if budget is None:
            return None
        if budget.calls is not None:
            return budget.calls
        assert budget.share is not None
        return math.floor(budget.share * (seen + budget.burst))

    def left(self, usage: Usage, events: int = 0) -> int | None:
        """Calls that can still be reserved when `events` more will have been decided."""
        cap = self.cap(usage.seen_ever + events)
        return None if cap is None else max(0, cap - committed(usage))

    def left_to_warm_up(self, usage: Usage, events: int = 0) -> int | None:
        """Calls that may be spent before anything was learned: a part of them, if they are few."""
        left = self.left(usage, events)
        if left is None or self._budget is None or self._budget.calls is None:
            return left
        before = usage.reserved_before
        most = before + int(_WARM_UP * max(0, self._budget.calls - before))
        return min(left, max(0, most - committed(usage)))

    def remaining(self, usage: Usage) -> int | None:
        """Calls that can still be reserved by now."""
        return self.left(usage)

    def rate(self, usage: Usage, horizon: int) -> float:
        """See `Plan.rate`."""
        return self._rate(usage, horizon, 1.0 if self._budget is None else self._budget.pace)

    def early_rate(self, usage: Usage, horizon: int) -> float:
        """See `Plan.early_rate`: a budget of calls is ahead at a pace of its own."""
        pace = _EARLY_PACE if self._budget is None else min(_EARLY_PACE, self._budget.pace)
        return self._rate(usage, horizon, pace)

    def _rate(self, usage: Usage, horizon: int, pace: float) -> float:
        if self._budget is None:
            return 1.0
        events = self._budget.events
        if self._budget.calls is not None and events is not None:
            horizon = max(1, min(horizon, events - usage.seen))
        due = self._planned(usage, horizon, pace) - committed(usage)
        return min(1.0, max(0.0, due / horizon))

    def _planned(self, usage: Usage, horizon: int, pace: float) -> float:
        """Calls that should be committed after `horizon` more events."""
        budget = self._budget
        assert budget is not None
        if budget.calls is not None:
            # Over this stream go the calls that those before it have left.
            assert budget.events is not None
            progress = min(1.0, (usage.seen + horizon) / budget.events)
            before = min(budget.calls, usage.reserved_before)
            return float(before + (budget.calls - before) * progress**pace)
        assert budget.share is not None
        events = usage.seen_ever + horizon
        # Most of the burst is spent early, at a rate that falls towards the share; the rest stays
        # between the plan and the cap, so that an audit is not refused for want of a call.
        ahead = _AHEAD * budget.burst * events / (events + budget.burst) if budget.burst else 0.0
        return budget.share * (events + ahead)


def committed(usage: Usage) -> int:
    """Calls that are spent, or as good as spent: one for each deferral, less refunds, and retries.

    Counted by deferrals and not by what is in flight, so that it does not depend on how far the
    expert lags behind: the same stream meets the same plan in the job and in the replay.
    """
    here = usage.deferred - usage.refunded + usage.retried
    return max(usage.reserved_before + here, usage.reserved)

"""Where deferrals meet the expert: paid once, within the budget, and never left unanswered."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import tenacity

from model_store.errors import StoreError
from model_store.ledger import Ledger
from operators.budget import SpendingPlan
from operators.expert.port import Expert, ExpertError, ExpertUnavailable
from operators.records import Answer, Deferral, Event, Verdict
from operators.settings import PriceSettings, RetrySettings


class ExpertDesk:
    """Gets a verdict for every deferral; failures are verdicts too, nothing is raised or lost.

    An event that was answered before (a replay after a failure) gets the remembered answer. Every
    call, retries included, is reserved before it is made; what can not be reserved is not made.

    Parameters
    ----------
    plan
        The budget's hard cap.
    concurrency
        Calls in flight at the most.
    sleep, monotonic
        Waiting and the clock, in seconds.
    """

    def __init__(
        self,
        expert: Expert,
        ledger: Ledger,
        plan: SpendingPlan,
        *,
        retry: RetrySettings,
        price: PriceSettings,
        concurrency: int,
        sleep: Callable[[float], Awaitable[None]],
        monotonic: Callable[[], float],
    ) -> None:
        self._expert = expert
        self._ledger = ledger
        self._plan = plan
        self._retry = retry
        self._price = price
        self._slots = asyncio.Semaphore(concurrency)
        self._sleep = sleep
        self._monotonic = monotonic

    async def answer(self, deferrals: Sequence[Deferral]) -> list[Verdict]:
        """Verdicts in the order of the deferrals."""
        names = [call_id(deferral.event) for deferral in deferrals]
        remembered = await self._recall(names)
        fresh = [i for i, name in enumerate(names) if name not in remembered]
        granted = await self._reserve([names[i] for i in fresh])
        answers = await asyncio.gather(
            *(
                self._ask(deferrals[i].event, names[i]) if grant is None else _refused(grant)
                for i, grant in zip(fresh, granted, strict=True)
            )
        )
        found = dict(zip(fresh, answers, strict=True))
        await self._remember({names[i]: answer for i, answer in found.items() if answer.label})
        return [
            Verdict(deferral, found[i] if i in found else remembered[names[i]])
            for i, deferral in enumerate(deferrals)
        ]

    async def close(self) -> None:
        """Let go of the expert's connections; nothing may be asked afterwards."""
        await self._expert.close()

    async def _ask(self, event: Event, name: str) -> Answer:
        started = self._monotonic()
        paid = _Paid()

        async def attempt() -> str:
            paid.calls += 1
            if paid.calls > 1:
                (refusal,) = await self._reserve([f"{name}#{paid.calls}"])
                if refusal is not None:
                    paid.calls -= 1
                    raise _OutOfBudget(refusal)
            async with self._slots:
                reply = await self._expert.ask(event)
            paid.tokens_in += reply.tokens_in
            paid.tokens_out += reply.tokens_out
            return reply.label

        label: str | None = None
        failure: str | None = None
        retrying = tenacity.AsyncRetrying(
            sleep=self._sleep,
            stop=tenacity.stop_after_attempt(self._retry.attempts),
            retry=tenacity.retry_if_exception_type(ExpertUnavailable),
            wait=self._wait,
            reraise=True,
        )
        try:
            label = await retrying(attempt)
        except ExpertError as error:
            failure = error.kind
            paid.tokens_in += error.tokens_in
            paid.tokens_out += error.tokens_out
        price = self._price  # US dollars a million tokens are micro-dollars a token
        return Answer(
            label,
            failure,
            calls=paid.calls,
            tokens_in=paid.tokens_in,
            tokens_out=paid.tokens_out,
            cost_usd_micros=round(
                price.input_usd * paid.tokens_in + price.output_usd * paid.tokens_out
            ),
            latency_ms=round(1000 * (self._monotonic() - started), 3),
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        """Seconds to the next attempt: what the provider asks for, else doubling with jitter."""
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after_s if isinstance(error, ExpertUnavailable) else None
        longest = self._retry.longest_wait_s
        if asked is not None:
            return min(asked, longest)
        jittered = tenacity.wait_random_exponential(self._retry.first_wait_s, longest)
        return min(longest, self._retry.first_wait_s / 2 + jittered(state) / 2)

    async def _recall(self, names: Sequence[str]) -> dict[str, Answer]:
        try:
            found = await asyncio.to_thread(self._ledger.recall, names)
        except StoreError:
            return {}  # asking again is allowed, and costs at most one call an event
        return {name: msgspec.json.decode(data, type=Answer) for name, data in found.items()}

    async def _remember(self, answers: dict[str, Answer]) -> None:
        # What can not be remembered is asked again after a failure: a cost, never an error.
        if answers:
            encoded = {name: msgspec.json.encode(answer) for name, answer in answers.items()}
            with contextlib.suppress(StoreError):
                await asyncio.to_thread(self._ledger.remember, encoded)

    async def _reserve(self, names: Sequence[str]) -> list[str | None]:
        """For each call None if it may be made, else why not."""
        if not names:
            return []
        try:
            cap = self._plan.cap((await asyncio.to_thread(self._ledger.usage)).seen)
            granted = await asyncio.to_thread(self._ledger.reserve, names, cap)
        except StoreError:
            # No ledger, no call: a hard budget that can not be checked is a budget of nothing.
            return ["ledger_unavailable"] * len(names)
        return [None if grant else "budget" for grant in granted]


class _OutOfBudget(ExpertError):
    """A retry that the budget does not pay."""


class _Paid:
    calls = 0
    tokens_in = 0
    tokens_out = 0


async def _refused(why: str) -> Answer:
    return Answer(None, why)


def call_id(event: Event) -> str:
    """Name under which an event's call is paid and its answer remembered.

    Of its id and its text: a source that uses an id twice must not get one answer for two texts.
    """
    text = hashlib.sha256(event.text.encode()).hexdigest()[:16]
    return f"{event.id}:{text}"

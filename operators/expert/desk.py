"""Where deferrals meet the expert: paid once, within the budget, and never left unanswered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec
import tenacity

from model_store.errors import StoreError
from model_store.ledger import Grant, Ledger
from operators.budget import Plan
from operators.expert.breaker import Breaker
from operators.expert.failures import Failure
from operators.expert.port import Expert, ExpertError, ExpertUnavailable, Reply
from operators.expert.tariff import Tariff
from operators.records import Answer, Deferral, Event, Verdict
from operators.settings import PriceSettings, RetrySettings

_log = logging.getLogger(__name__)


class ExpertDesk:
    """Gets a verdict for every deferral; failures are verdicts too, nothing is raised or lost.

    An event that was answered before (a replay after a failure) gets the remembered answer. Every
    call, retries included, is reserved before it is made; what can not be reserved is not made, and
    what never reached the expert is given back. Under a budget that goes by the clock it is
    reserved at the last moment, with the most that it can take, and what it did not take is given
    back when the answer tells.

    Parameters
    ----------
    labels
        The task's labels: an answer remembered from when there were others is asked again.
    plan
        The budget's hard cap.
    tariff
        What a call draws from a budget that goes by the clock; None without one.
    concurrency
        Calls in flight at the most.
    sleep, monotonic
        Waiting and the clock, in seconds.
    offload
        Runs a call of the ledger that may block where it does not hold up the calls in flight.
    on_error
        Told the kind of each call that failed, also of one that is tried again.
    on_excess
        Told when a call took more than it was thought to take at the most.
    """

    def __init__(
        self,
        expert: Expert,
        labels: Sequence[str],
        ledger: Ledger,
        plan: Plan,
        *,
        tariff: Tariff | None = None,
        retry: RetrySettings,
        price: PriceSettings,
        breaker: Breaker,
        concurrency: int,
        sleep: Callable[[float], Awaitable[None]],
        monotonic: Callable[[], float],
        offload: Callable[..., Awaitable[Any]] = asyncio.to_thread,
        on_error: Callable[[str], None] = lambda _: None,
        on_excess: Callable[[], None] = lambda: None,
    ) -> None:
        self._expert = expert
        self._labels = labels
        self._ledger = ledger
        self._plan = plan
        self._tariff = tariff
        self._retry = retry
        self._at_hand = concurrency == 1 and retry.attempts == 1
        self._price = price
        self._breaker = breaker
        self._slots = asyncio.Semaphore(concurrency)
        self._sleep = sleep
        self._monotonic = monotonic
        self._offload = offload
        self._on_error = on_error
        self._on_excess = on_excess

    async def answer(self, deferrals: Sequence[Deferral]) -> list[Verdict]:
        """Verdicts in the order of the deferrals, when all are there."""
        verdicts = {number: verdict async for number, verdict in self.as_answered(deferrals)}
        return [verdicts[number] for number in range(len(deferrals))]

    async def as_answered(
        self, deferrals: Sequence[Deferral]
    ) -> AsyncIterator[tuple[int, Verdict]]:
        """Verdicts as they come, each with the number of its deferral.

        A verdict that comes is remembered: it is not asked again, whatever happens next.
        """
        numbers: dict[str, list[int]] = {}
        for number, deferral in enumerate(deferrals):
            numbers.setdefault(deferral.event.call_id, []).append(number)
        remembered = await self._recall(list(numbers))
        fresh = [name for name in numbers if name not in remembered]
        # By the clock, only the call that is made now is reserved now: others wait for a slot.
        now = self._tariff is None
        grants = await self._reserve(fresh) if now else [None] * len(fresh)
        asked = (
            _refused(name, grant)
            if isinstance(grant, str)
            else self._ask_once(deferrals[numbers[name][0]].event, name, grant)
            for name, grant in zip(fresh, grants, strict=True)
        )
        for name, answer in remembered.items():
            for number in numbers[name]:
                yield number, Verdict(deferrals[number], answer)
        # Answers that are at hand need no tasks: those would take longer than the answers.
        for coming in asked if self._at_hand else asyncio.as_completed([*asked]):
            name, answer = await coming
            # An event that is there twice is asked and paid once: the others get it for nothing.
            for number in numbers[name]:
                yield number, Verdict(deferrals[number], answer)
                answer = _free(answer)

    async def _ask_once(self, event: Event, name: str, grant: Grant | None) -> tuple[str, Answer]:
        answer, paid = await self._ask(event, name, grant)
        await self._refund(paid)
        if answer.label is not None:
            await self._remember({name: answer})
        else:
            await self._forget(paid.names)
        return name, answer

    async def _ask(self, event: Event, name: str, grant: Grant | None) -> tuple[Answer, _Paid]:
        started = self._monotonic()
        paid = _Paid()

        async def attempt() -> str:
            most = self._most(event)
            async with self._slots:
                call = await self._reserve_next(name, grant, paid, most)
                try:
                    with self._breaker.guard():
                        outcome: Reply | ExpertError = await self._expert.ask(event)
                except ExpertError as error:
                    outcome = error
            paid.count(outcome)
            await self._correct(call, most, outcome)
            if isinstance(outcome, Reply):
                return outcome.label
            self._on_error(outcome.kind)
            if not outcome.reached:
                paid.unheard[call != name].append(call)
            raise outcome

        label: str | None = None
        failure: str | None = None
        try:
            label = await self._persist(attempt)
        except ExpertError as error:
            failure = error.kind
        price = self._price  # US dollars a million tokens are micro-dollars a token
        answer = Answer(
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
        return answer, paid

    async def _persist(self, attempt: Callable[[], Awaitable[str]]) -> str:
        if self._retry.attempts == 1:  # tenacity alone takes longer than a recorded answer
            return await attempt()
        retrying = tenacity.AsyncRetrying(
            sleep=self._sleep,
            stop=tenacity.stop_after_attempt(self._retry.attempts),
            retry=tenacity.retry_if_exception_type(ExpertUnavailable),
            wait=self._wait,
            reraise=True,
        )
        return await retrying(attempt)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        """Seconds to the next attempt: what the provider asks for, else doubling with jitter."""
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after_s if isinstance(error, ExpertUnavailable) else None
        longest = self._retry.longest_wait_s
        if asked is not None:
            return min(asked, longest)
        jittered = tenacity.wait_random_exponential(self._retry.first_wait_s, longest)
        return min(longest, self._retry.first_wait_s / 2 + jittered(state) / 2)

    async def close(self) -> None:
        """Let go of the expert's connections."""
        await self._expert.close()

    async def _recall(self, names: Sequence[str]) -> dict[str, Answer]:
        try:
            found = await self._offload(self._ledger.recall, names)
        except StoreError:
            return {}  # asking again is allowed, and costs at most one call an event
        return {
            name: answer
            for name, data in found.items()
            if (answer := Answer.remembered(data, self._labels)) is not None
        }

    async def _remember(self, answers: dict[str, Answer]) -> None:
        # What can not be remembered is asked again after a failure: a cost, never an error.
        if answers:
            encoded = {name: msgspec.json.encode(answer) for name, answer in answers.items()}
            with contextlib.suppress(StoreError):
                await self._offload(self._ledger.remember, encoded)

    async def _refund(self, paid: _Paid) -> None:
        """Take back what was granted for calls that never reached the expert."""
        for retry, names in paid.unheard.items():
            if names:  # a ledger that is down keeps them spent: too few calls, never too many
                with contextlib.suppress(StoreError):
                    await self._offload(self._ledger.refund, names, retry=retry)

    async def _forget(self, names: Sequence[str]) -> None:
        """Have an event that failed pay again if it comes again."""
        if names:
            with contextlib.suppress(StoreError):
                await self._offload(self._ledger.forget, names)

    def _most(self, event: Event) -> int:
        """The most that a call about an event can draw."""
        return 1 if self._tariff is None else self._tariff.amount(*self._expert.most_tokens(event))

    async def _correct(self, call: str, most: int, outcome: Reply | ExpertError) -> None:
        """Have a call draw what it took; where that is not told, the most stays drawn."""
        if self._tariff is None or outcome.tokens_in == 0:
            return
        took = self._tariff.amount(outcome.tokens_in, outcome.tokens_out)
        if took > most:
            _log.warning("a call drew %s from the budget, and %s was the most expected", took, most)
            self._on_excess()
        if took != most:
            with contextlib.suppress(StoreError):  # too much stays drawn, as a rule
                await self._offload(self._ledger.correct, {call: took})

    async def _reserve(
        self, names: Sequence[str], *, retry: bool = False, most: int = 1
    ) -> list[Grant | str]:
        """For each call how it was granted, or why it must not be made."""
        if not names:
            return []
        amounts = [most] * len(names)
        try:
            # By the clock, the ledger itself holds the limit.
            seen = 0 if self._tariff else (await self._offload(self._ledger.usage)).seen_ever
            granted = await self._offload(
                self._ledger.reserve, names, self._plan.cap(seen), retry=retry, amounts=amounts
            )
        except StoreError:
            # No ledger, no call: a hard budget that can not be checked is a budget of nothing.
            return [Failure.LEDGER_UNAVAILABLE] * len(names)
        return [grant or Failure.BUDGET for grant in granted]

    async def _reserve_next(self, name: str, grant: Grant | None, paid: _Paid, most: int) -> str:
        """Name under which the next call for an event is granted.

        Raises
        ------
        _OutOfBudget
            If none is.
        """
        another = bool(paid.names)
        if not another:
            first = grant or await self._reserve_one(name, most)
            # One that was granted before a failure may have been made then: this is another one.
            another = first is Grant.AGAIN
        call = f"{name}#{uuid.uuid4().hex}" if another else name
        if another:
            await self._reserve_one(call, most, retry=True)
        paid.names.append(call)
        return call

    async def _reserve_one(self, call: str, most: int, *, retry: bool = False) -> Grant:
        (grant,) = await self._reserve([call], retry=retry, most=most)
        if isinstance(grant, str):
            raise _OutOfBudget(grant)
        return grant


class _OutOfBudget(ExpertError):
    """A call that the budget does not pay."""


class _Paid:
    """What the calls for one event cost."""

    def __init__(self) -> None:
        self.names: list[str] = []
        """Under which the calls were granted: the first, and the retries."""
        self.unheard: dict[bool, list[str]] = {False: [], True: []}
        """Those that never reached the expert: first calls, and further ones."""
        self.calls = 0
        self.tokens_in = 0
        self.tokens_out = 0

    def count(self, outcome: Reply | ExpertError) -> None:
        self.calls += not (isinstance(outcome, ExpertError) and not outcome.reached)
        self.tokens_in += outcome.tokens_in
        self.tokens_out += outcome.tokens_out


def _free(answer: Answer) -> Answer:
    """An answer that was paid before."""
    return msgspec.structs.replace(answer, calls=0, tokens_in=0, tokens_out=0, cost_usd_micros=0)


async def _refused(name: str, why: str) -> tuple[str, Answer]:
    return name, Answer(None, why)

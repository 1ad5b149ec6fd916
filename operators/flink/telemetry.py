"""What each operator reports of its work; the names are in `operators.flink.metrics`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial

from model_store.names import release_sequence
from model_store.watch import HeadWatcher
from operators.audit.alarm import AgreementAlarm
from operators.audit.evidence import EVERYTHING, Agreement
from operators.core.cascade import Cascade, Outcome
from operators.core.intake import Intake
from operators.core.publisher import Publisher
from operators.core.trainer import Trainer
from operators.expert.calls import Answered
from operators.expert.failures import family
from operators.flink import metrics as m
from operators.flink.meters import Meters, MetricGroup
from operators.pacing import plan_of
from operators.records import Answer, Lesson, Reason
from operators.settings import CascadeSettings

_PPM = 1_000_000
_MS = 1000.0


class CascadeTelemetry:
    """Of the cascade: what came, what became of it, which release serves, what is left to spend."""

    def __init__(
        self,
        group: MetricGroup | None,
        settings: CascadeSettings,
        cascade: Cascade,
        watcher: HeadWatcher,
    ) -> None:
        meters = Meters(group)
        self._events = meters.count(m.EVENTS)
        self._chunks = meters.count(m.CHUNKS)
        self._sizes = meters.histogram(m.CHUNK_EVENTS, m.CHUNK_BOUNDS)
        self._decided = meters.tally(m.DECIDED, [level.name for level in settings.levels])
        self._routed = meters.tally(m.ROUTED, list(Reason))
        self._deferred = meters.count(m.DEFERRED)
        self._degraded = meters.count(m.DEGRADED)
        self._ledger_failures = meters.count(m.LEDGER_FAILURES)
        self.swaps = meters.count(m.SWAPS)
        self.rejected = meters.count(m.REJECTED)
        self._cascade = cascade
        meters.show(m.HEAD_FAILURES, lambda: watcher.failures)
        meters.show(m.RELEASE, lambda: _sequence(cascade.release))
        meters.show(m.RELEASE_CREATED, lambda: cascade.release_created_unix_s)
        for level, on_gpu in cascade.on_gpu.items():
            meters.show(m.ON_GPU, partial(int, on_gpu), level)
            meters.show(m.NO_OPINION, partial(cascade.no_opinion.__getitem__, level), level)
        meters.show(m.RESERVED, lambda: cascade.usage.reserved)
        meters.show(m.UNSETTLED, lambda: cascade.usage.deferred - cascade.usage.settled)
        if settings.budget is not None:
            plan = plan_of(settings, time.monotonic)
            meters.show(m.BUDGET_LEFT, lambda: plan.remaining(cascade.usage) or 0)
            window = settings.budget.window
            if window is not None:
                meters.show(m.DRAWN, lambda: _PPM * cascade.usage.drawn / window.limit)

    def chunk(self, events: int, outcome: Outcome) -> None:
        """Count a chunk that was just decided."""
        self._events.add(events)
        self._chunks.add()
        self._sizes.add(events)
        self._deferred.add(len(outcome.deferrals))
        for deferral in outcome.deferrals:
            self._routed.add(deferral.reason)
        for decision in outcome.decisions:
            self._routed.add(decision.reason)
            self._decided.add(decision.level)
            self._degraded.add(decision.degraded)
        self._ledger_failures.add(self._cascade.ledger_error is not None)


class ExpertTelemetry:
    """Of the expert: what was asked, what it cost, how long it took, what went wrong.

    Parameters
    ----------
    monotonic
        The clock, in seconds.
    """

    def __init__(self, group: MetricGroup | None, monotonic: Callable[[], float]) -> None:
        meters = Meters(group)
        self._monotonic = monotonic
        self._waiting: dict[str, float] = {}  # since when, oldest first
        self._verdicts = meters.count(m.VERDICTS)
        self._answers = meters.count(m.ANSWERS)
        self._remembered = meters.count(m.REMEMBERED)
        self._calls = meters.count(m.CALLS)
        self._tokens_in = meters.count(m.TOKENS_IN)
        self._tokens_out = meters.count(m.TOKENS_OUT)
        self._cost = meters.count(m.COST)
        self._failures = meters.tally(m.FAILURES, m.KINDS)
        self._over_bound = meters.count(m.OVER_BOUND)
        self._latency = meters.histogram(m.LATENCY, m.LATENCY_BOUNDS_MS)
        self._waited = meters.histogram(m.WAITED, m.LATENCY_BOUNDS_MS)
        self._errors = meters.tally(m.ERRORS, m.KINDS)
        meters.show(m.WAITING, lambda: len(self._waiting))
        meters.show(m.OLDEST, self._oldest_ms)

    def call_failed(self, kind: str) -> None:
        """Count a call that failed. May be called in another thread than the rest."""
        self._errors.add(family(kind))

    def took_more(self) -> None:
        """Count a call that took more than it was thought to. In another thread likewise."""
        self._over_bound.add()

    def taken(self, names: Iterable[str]) -> None:
        """Deferrals have come in under these names; after a restore, again."""
        now = self._monotonic()
        self._waiting.update((name, now) for name in names)

    def answered(self, answered: Answered) -> None:
        """Verdicts go out."""
        now = self._monotonic()
        self._verdicts.add(len(answered))
        for name, verdict in answered:
            self._waited.add(_MS * (now - self._waiting.pop(name, now)))
            self._count(verdict.answer)

    def _count(self, answer: Answer) -> None:
        self._calls.add(answer.calls)
        self._tokens_in.add(answer.tokens_in)
        self._tokens_out.add(answer.tokens_out)
        self._cost.add(answer.cost_usd_micros)
        if answer.calls:
            self._latency.add(answer.latency_ms)
        if answer.label is None:
            self._failures.add(family(answer.failure or m.OTHER))
            return
        self._answers.add()
        self._remembered.add(answer.calls == 0)

    def _oldest_ms(self) -> float:
        oldest = next(iter(self._waiting.values()), None)
        return 0.0 if oldest is None else _MS * (self._monotonic() - oldest)


class TrainerTelemetry:
    """Of the trainer: what it learned from, what it published, how well the levels agree."""

    def __init__(self, group: MetricGroup | None, settings: CascadeSettings) -> None:
        self._meters = Meters(group)
        self._settings = settings
        self._lessons = self._meters.count(m.LESSONS)
        self._annotations = self._meters.count(m.ANNOTATIONS)

    def watch(
        self,
        trainer: Trainer,
        publisher: Publisher,
        intake: Intake,
        alarm: AgreementAlarm | None = None,
    ) -> None:
        """Report of a trainer and what stands around it, from their first lesson on."""
        show = self._meters.show
        show(m.LESSONS_WAITING, lambda: intake.backlog)
        show(m.PROMOTED, lambda: publisher.published)
        show(m.TURNED_DOWN, lambda: publisher.rejected)
        show(m.ADOPTED, lambda: publisher.adopted)
        show(m.STORE_FAILING, lambda: publisher.error is not None)
        show(m.HEAD, lambda: _sequence(publisher.parent))
        if alarm is not None:
            show(m.BELOW_TARGET, lambda: alarm.below)
        for level in self._settings.levels:
            self._watch_level(trainer, level.name)
        evidence = trainer.evidence
        if evidence is not None:
            self._watch_agreement(m.LIFETIME, lambda: evidence.total(EVERYTHING))
            self._watch_agreement(m.WINDOW, lambda: evidence.recent(EVERYTHING))

    def _watch_level(self, trainer: Trainer, name: str) -> None:
        self._meters.show(m.LEFT_OUT, lambda: trainer.left_out[name], name)
        self._meters.show(m.LEVEL_AGREEMENT, lambda: _PPM * trainer.agreement.get(name, 0.0), name)

    def _watch_agreement(self, over: str, read: Callable[[], Agreement]) -> None:
        show = self._meters.show
        show(m.AUDITS, lambda: read().audited, over)
        show(m.AGREEMENT, lambda: _PPM * (read().estimate or 0.0), over)
        show(m.AGREEMENT_LOWER, lambda: _PPM * read().lower, over)
        show(m.AGREEMENT_UPPER, lambda: _PPM * read().upper, over)

    def lesson(self, lesson: Lesson) -> None:
        """Count a lesson that was just learned."""
        self._lessons.add()
        self._annotations.add(len(lesson.annotations))


def _sequence(release: str | None) -> int:
    return (release_sequence(release) if release else None) or 0

"""Builds the core's objects from its settings: the one place where kinds become classes."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cache, partial
from types import ModuleType
from typing import Any

from model_store.ledger import Ledger
from model_store.memory_ledger import MemoryLedger
from operators.audit.alarm import AgreementAlarm
from operators.audit.chances import AuditChances
from operators.audit.evidence import Evidence
from operators.core.cascade import Cascade
from operators.core.holdout import Holdout
from operators.core.trainer import Trainer
from operators.expert.breaker import Breaker
from operators.expert.calls import Calls
from operators.expert.desk import ExpertDesk
from operators.expert.port import Expert
from operators.expert.recorded import RecordedExpert
from operators.expert.tariff import tariff_of
from operators.inline import InlineExecutor
from operators.levels.cached import CachedLearner
from operators.levels.encoder.errors import EncoderUnavailable
from operators.levels.features import Hasher, NgramHasher, RememberingHasher
from operators.levels.linear import LinearLearner
from operators.levels.linear_onnx import LinearLevel
from operators.levels.port import Learner, Level, SlowLearner
from operators.pacing import plan_of
from operators.policy.budgeted import BudgetedLearner, BudgetedPolicy
from operators.policy.paper import PaperPolicy, gates_for
from operators.policy.paper_learning import PaperLearner
from operators.policy.port import Policy, PolicyLearner
from operators.policy.target import AgreementTarget
from operators.settings import (
    BreakerSettings,
    BudgetedSettings,
    CascadeSettings,
    EncoderSettings,
    FeatureSettings,
    LinearSettings,
    OpenAIExpertSettings,
    PaperSettings,
    PriceSettings,
    RetrySettings,
)


def _level(
    settings: LinearSettings | EncoderSettings,
    labels: int,
    hashing: Callable[[FeatureSettings], Hasher] = NgramHasher,
) -> Level:
    if isinstance(settings, EncoderSettings):
        level: Level = _encoders(settings.name).encoder_level(settings, labels)
        return level
    return LinearLevel(settings, labels, hashing(settings.features))


def _learner(
    settings: LinearSettings | EncoderSettings,
    labels: int,
    seed: int,
    hashing: Callable[[FeatureSettings], Hasher] = RememberingHasher,
) -> Learner:
    if isinstance(settings, EncoderSettings):
        build = _encoders(settings.name)
        learner: Learner = build.encoder_learner(settings, labels, seed, time.monotonic)
        return learner
    return LinearLearner(settings, labels, seed, hashing(settings.features))


def _encoders(level: str) -> ModuleType:
    """What builds encoder levels: its packages come with an extra that others can do without."""
    try:
        from operators.levels.encoder import build
    except ImportError as error:
        raise EncoderUnavailable(
            f"Level {level!r} is an encoder, which needs {error.name}.",
            "pip install 'flink-online-cascade[encoder]'.",
        ) from error
    return build


def prepare_levels(settings: CascadeSettings) -> None:
    """Fetch and export the base models of all encoders, so that no worker has to.

    Raises
    ------
    EncoderUnavailable
        If one is not to be had.
    """
    for level in settings.levels:
        if isinstance(level, EncoderSettings):
            _encoders(level.name).prepare(level)


def _policy(settings: CascadeSettings, monotonic: Callable[[], float] = time.monotonic) -> Policy:
    plan = plan_of(settings, monotonic)
    levels, labels = len(settings.levels), len(settings.task.labels)
    if isinstance(settings.policy, BudgetedSettings):
        audits = AuditChances(settings.audit_rate, settings.least_audit_rate)
        return BudgetedPolicy(
            settings.policy, levels, plan, settings.seed, audits, _target(settings)
        )
    return PaperPolicy(settings.policy, levels, labels, plan, settings.seed)


def _target(settings: CascadeSettings) -> AgreementTarget | None:
    policy, target = settings.policy, settings.target_agreement
    if target is None or not isinstance(policy, BudgetedSettings):
        return None
    return AgreementTarget(target, settings.audit_rate, policy.confidence)


def build_alarm(settings: CascadeSettings) -> AgreementAlarm | None:
    """What tells when a target is missed; None without a target."""
    target = _target(settings)
    if target is None or settings.target_agreement is None:
        return None
    return AgreementAlarm(settings.target_agreement, settings.audit_rate, target.proved)


def _policy_learner(settings: CascadeSettings) -> PolicyLearner:
    if isinstance(settings.policy, BudgetedSettings):
        return BudgetedLearner(settings.policy, len(settings.levels))
    costs = [level.cost for level in settings.levels]
    return PaperLearner(settings.policy, costs, len(settings.task.labels), settings.seed)


@dataclass(frozen=True)
class Parts:
    """Makes the objects that the settings name. A study puts others in the place of some.

    Parameters
    ----------
    level
        The serving half of a small level, from its settings and the number of labels.
    learner
        Its learning half, from the same and a seed.
    policy, policy_learner
        The two halves of the deferral policy.
    """

    level: Callable[[LinearSettings | EncoderSettings, int], Level] = _level
    learner: Callable[[LinearSettings | EncoderSettings, int, int], Learner] = _learner
    policy: Callable[[CascadeSettings], Policy] = _policy
    policy_learner: Callable[[CascadeSettings], PolicyLearner] = _policy_learner


PARTS = Parts()


def parts_that_share(monotonic: Callable[[], float] = time.monotonic) -> Parts:
    """For both sides in one process: a text is hashed once, to decide and to learn.

    Parameters
    ----------
    monotonic
        The clock by which a budget is spent, in seconds.
    """
    hashing = cache(RememberingHasher)
    return Parts(
        partial(_level, hashing=hashing),
        partial(_learner, hashing=hashing),
        partial(_policy, monotonic=monotonic),
    )


def build_cascade(settings: CascadeSettings, ledger: Ledger, parts: Parts = PARTS) -> Cascade:
    """The serving side: small levels and policy, before their first release."""
    labels = len(settings.task.labels)
    levels = [parts.level(level, labels) for level in settings.levels]
    return Cascade(settings.task, levels, parts.policy(settings), ledger)


def build_trainer(
    settings: CascadeSettings, parts: Parts = PARTS, executor: Executor | None = None
) -> Trainer:
    """The learning side: learners and the policy's learner, knowing nothing yet.

    Parameters
    ----------
    executor
        Of one thread, for what is learned in the background; None learns it in the foreground.
    """
    labels = len(settings.task.labels)
    learners = [
        parts.learner(level, labels, settings.seed + i) for i, level in enumerate(settings.levels)
    ]
    slow = [learner for learner in learners if isinstance(learner, SlowLearner)]
    for learner in slow:
        learner.work_on(executor or InlineExecutor())
    if isinstance(settings.policy, PaperSettings):
        gates = gates_for(settings.policy, len(learners))
        learners = [
            CachedLearner(learner, gate.cache, settings.policy.aggregate, settings.seed)
            for learner, gate in zip(learners, gates, strict=True)
        ]
    return Trainer(
        learners,
        parts.policy_learner(settings),
        _evidence(settings),
        slow,
        _holdout(settings),
    )


def _evidence(settings: CascadeSettings) -> Evidence | None:
    policy, least = settings.policy, settings.least_audit_rate
    if isinstance(policy, PaperSettings) or least == 0:
        return None
    steers = settings.target_agreement is not None
    return Evidence(least, policy.confidence, policy.audit_window, steers=steers)


def _holdout(settings: CascadeSettings) -> Holdout | None:
    gate = settings.learning.gate
    if gate is None or isinstance(settings.policy, PaperSettings):
        return None
    return Holdout(gate, settings.seed)


def build_desk(
    settings: CascadeSettings,
    ledger: Ledger,
    on_error: Callable[[str], None] = lambda _: None,
    on_excess: Callable[[], None] = lambda: None,
) -> ExpertDesk:
    """The expert with its retries and its budget. Call it on the event loop that will use it.

    Parameters
    ----------
    on_error, on_excess
        See `ExpertDesk`.

    Raises
    ------
    ValueError
        If the expert's key is not in the environment.
    """
    chosen = settings.expert
    if isinstance(chosen, OpenAIExpertSettings):
        # Its client takes longer to import than a short replay to run.
        from operators.expert.openai_expert import OpenAIExpert, api_key

        expert: Expert = OpenAIExpert(chosen, settings.task, api_key(chosen))
        retry, price, concurrency = chosen.retry, chosen.price, chosen.concurrency
        breaker = chosen.breaker
    else:
        expert = RecordedExpert(settings.task.labels)
        retry, price, concurrency = RetrySettings(attempts=1), PriceSettings(), 1
        breaker = BreakerSettings()  # records are always there
    return ExpertDesk(
        expert,
        settings.task.labels,
        ledger,
        plan_of(settings, time.monotonic),
        tariff=tariff_of(settings),
        retry=retry,
        price=price,
        breaker=Breaker(breaker, time.monotonic),
        concurrency=concurrency,
        sleep=asyncio.sleep,
        monotonic=time.monotonic,
        offload=_at_once if isinstance(ledger, MemoryLedger) else asyncio.to_thread,
        on_error=on_error,
        on_excess=on_excess,
    )


def build_calls(
    settings: CascadeSettings,
    ledger: Ledger,
    on_error: Callable[[str], None] = lambda _: None,
    on_excess: Callable[[], None] = lambda: None,
) -> Calls:
    """The desk on an event loop of its own, beside a stream that does not wait for it.

    Parameters
    ----------
    on_error, on_excess
        See `ExpertDesk`; called in the loop's thread.
    """
    chosen = settings.expert
    backlog = chosen.backlog if isinstance(chosen, OpenAIExpertSettings) else sys.maxsize
    return Calls(lambda: build_desk(settings, ledger, on_error, on_excess), backlog)


async def _at_once(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    return call(*arguments, **named)  # a ledger in memory never blocks

"""Runs a cell through the product's replay."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.study.cells import Baselines, Cell, Figures, Result, code_fingerprint
from benchmarks.study.embeddings import on_remembered, remembering
from benchmarks.study.methods import Method, Scenario, Setup, parse_method
from benchmarks.study.sets import StudySet, settings_of
from benchmarks.study.streams import Item, chosen, chunks, items
from flink_job.evaluation import Evaluation, evaluate
from flink_job.replay import Replay
from flink_job.settings import JobSettings
from model_store.memory import MemoryBackend
from model_store.store import ModelStore
from operators.assembly import Parts
from operators.core.verdicts import EXPERT
from operators.records import Decision

_SEARCH_STEPS = 9  # runs to find a knob's place
_NEAR = 0.02  # calls are near enough to the budget within this share of it


@dataclass(frozen=True)
class Context:
    """What all cells of a study share.

    Parameters
    ----------
    models
        Folders of the encoder levels' base models, cheapest first; none to study the linear level
        alone.
    cache
        Folder of the remembered embeddings.
    """

    sets: dict[str, StudySet]
    models: Sequence[str]
    cache: Path


@dataclass(frozen=True)
class _Run:
    evaluation: Evaluation
    cpu_s: float
    knob: float | None = None


def cascade_levels(study: StudySet, context: Context, name: str) -> list[dict[str, Any]]:
    """Settings of the small levels of a cascade.

    Raises
    ------
    ValueError
        If it needs an encoder and the study has none.
    """
    linear: dict[str, Any] = {"kind": "linear", "features": dict(study.features)}
    if name == "linear":
        return [linear]
    if not context.models:
        message = f"the cascade {name!r} needs an encoder: give --model"
        raise ValueError(message)
    encoders: list[dict[str, Any]] = [
        {"kind": "encoder", "name": f"encoder-{i}", "model": model, "max_tokens": study.tokens}
        for i, model in enumerate(context.models, start=1)
    ]
    return encoders if name == "encoder" else [linear, *encoders]


def fingerprint(cell: Cell, context: Context) -> str:
    """Hash of the code and of everything that a cell's settings come from."""
    study = context.sets[cell.set]
    levels = cascade_levels(study, context, cell.levels)
    content = msgspec.json.encode([cell, study.job, levels], enc_hook=str)
    return hashlib.sha256(code_fingerprint().encode() + content).hexdigest()[:16]


def run_cell(cell: Cell, context: Context) -> Result:
    """Run a cell.

    Raises
    ------
    ValueError
        If its method or its cascade can not be set up; settings errors are ValueErrors too.
    """
    study = context.sets[cell.set]
    stream = stream_of(cell, context)
    scenario = scenario_of(cell, context, len(stream))
    method = parse_method(cell.method)
    run = _search(method, cell, study, scenario, stream)
    return Result(cell, fingerprint(cell, context), _figures(run), _baselines(run, stream))


def stream_of(cell: Cell, context: Context) -> Sequence[Item]:
    """The events of a cell in their order.

    Raises
    ------
    ValueError
        If there are none.
    """
    everything = items(settings_of(context.sets[cell.set], {"policy": "paper"}))
    stream = chosen(everything, cell.half, cell.order, cell.seed)
    if not stream:
        message = f"{cell.set}: the {cell.half} half is empty"
        raise ValueError(message)
    return stream


def scenario_of(cell: Cell, context: Context, events: int) -> Scenario:
    """What a method is set up for, on so many events of a cell."""
    open_encoder = partial(remembering, folder=context.cache, name=cell.set)
    return Scenario(
        name=cell.set,
        levels=cascade_levels(context.sets[cell.set], context, cell.levels),
        calls=round(cell.share * events),
        events=events,
        parts=on_remembered(open_encoder),
        encoder=open_encoder,
    )


def _search(
    method: Method, cell: Cell, study: StudySet, scenario: Scenario, stream: Sequence[Item]
) -> _Run:
    """Run once, or until the knob's calls are near the budget: the nearest run counts."""
    if method.knob is None:
        return _run(method.set_up(scenario, 0.0), None, cell, study, scenario, stream)
    low, high = math.log(method.knob.low), math.log(method.knob.high)
    best: _Run | None = None
    for _ in range(_SEARCH_STEPS):
        knob = math.exp((low + high) / 2)
        run = _run(method.set_up(scenario, knob), knob, cell, study, scenario, stream)
        over = run.evaluation.calls - scenario.calls
        if best is None or abs(over) < abs(best.evaluation.calls - scenario.calls):
            best = run
        if abs(over) <= _NEAR * scenario.calls:
            break
        if (over > 0) == method.knob.rising:
            high = math.log(knob)
        else:
            low = math.log(knob)
    assert best is not None
    return best


def _run(
    setup: Setup,
    knob: float | None,
    cell: Cell,
    study: StudySet,
    scenario: Scenario,
    stream: Sequence[Item],
) -> _Run:
    changes = dict(setup.changes)
    budget = changes.pop("budget", {})
    if budget is not None:
        budget = {"calls": scenario.calls, "events": scenario.events, **budget}
    levels = changes.pop("levels", scenario.levels)
    job = settings_of(
        study,
        {
            "learning": {"gate": None},  # studied by gate_runs.py; here every method learns it all
            **changes,
            "levels": list(levels),
            "budget": budget,
            "seed": cell.seed,
        },
    )
    started = time.process_time()
    decisions, calls, _ = replay_stream(job, stream, setup.parts)
    cpu_s = time.process_time() - started
    evaluation = evaluate(
        [item.reference for item in stream],
        decisions,
        job.task,
        [*(level.name for level in job.levels), EXPERT],
        calls=calls,
        events_in=len(stream),
        dead_letters=0,
        wall_s=0.0,
    )
    return _Run(evaluation, cpu_s, knob)


def replay_stream(
    job: JobSettings, stream: Sequence[Item], parts: Parts
) -> tuple[list[Decision], int, ModelStore]:
    """Run a stream through the product's replay: decisions, calls, and the store of releases."""
    return asyncio.run(_replay(job, stream, parts))


async def _replay(
    job: JobSettings, stream: Sequence[Item], parts: Parts
) -> tuple[list[Decision], int, ModelStore]:
    store = ModelStore(MemoryBackend(), retention=2, now=lambda: datetime.now(UTC))
    loop = Replay(job, store, parts)
    decisions: list[Decision] = []
    try:
        for shard, events in chunks(stream, job):
            decisions += await loop.decide(shard, events)
    finally:
        await loop.close()
    return decisions, loop.ledger.usage().reserved, store


def _figures(run: _Run) -> Figures:
    made, quality = run.evaluation, run.evaluation.quality
    scores, agreement, unasked = quality.cascade, quality.agreement, quality.agreement_unasked
    assert scores is not None
    assert agreement is not None
    return Figures(
        events=made.delivery.events_in,
        calls=made.calls,
        agreement=agreement.share,
        low=agreement.low,
        high=agreement.high,
        agreement_unasked=1.0 if unasked is None else unasked.share,
        accuracy=scores.accuracy.share,
        accuracy_low=scores.accuracy.low,
        accuracy_high=scores.accuracy.high,
        macro_f1=scores.macro_f1,
        rare_f1=None if scores.positive is None else scores.positive.f1,
        rare_recall=None if scores.positive is None else scores.positive.recall,
        answered=tuple(level.share for level in made.by_level),
        cpu_us=1e6 * run.cpu_s / made.delivery.events_in,
        knob=run.knob,
    )


def _baselines(run: _Run, stream: Sequence[Item]) -> Baselines:
    quality = run.evaluation.quality
    expert, majority = quality.expert_alone, quality.majority
    assert expert is not None
    assert majority is not None
    alike = sum(item.reference.expert == quality.majority_label for item in stream)
    return Baselines(
        expert_accuracy=expert.accuracy.share,
        expert_macro_f1=expert.macro_f1,
        expert_rare_f1=None if expert.positive is None else expert.positive.f1,
        expert_rare_recall=None if expert.positive is None else expert.positive.recall,
        majority_accuracy=majority.accuracy.share,
        majority_macro_f1=majority.macro_f1,
        majority_rare_f1=None if majority.positive is None else majority.positive.f1,
        majority_rare_recall=None if majority.positive is None else majority.positive.recall,
        majority_agreement=alike / len(stream),
    )

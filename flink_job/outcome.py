"""What is left of a run: its evaluation, as a summary, a machine-readable file and a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from flink_job.evaluation import Evaluation, evaluate, read_decisions, to_json
from flink_job.output import DECISIONS
from flink_job.settings import JobSettings
from flink_job.sources.blocks import Survey
from operators.core.verdicts import EXPERT


@dataclass(frozen=True)
class Outcome:
    """A finished run.

    Parameters
    ----------
    report
        The HTML page.
    """

    evaluation: Evaluation
    report: Path


def conclude(
    job: JobSettings,
    found: Survey,
    *,
    events_in: int | None,
    calls: int | None,
    wall_s: float,
    title: str,
) -> Outcome:
    """Evaluate what the run wrote, and leave `summary.json` and `report.html` beside it.

    Parameters
    ----------
    events_in
        Events that the cascade decided, by its own count; None if that is lost, with the store:
        then the decisions are counted.
    calls
        Calls to the expert, as counted where they are made; None likewise.
    """
    # It brings matplotlib, which nothing needs before a run is over.
    from flink_job.report.page import render

    folder = job.sink.path
    (folder / DECISIONS).mkdir(exist_ok=True)  # where not one event was decided, Flink made none
    decisions = read_decisions(folder / DECISIONS)
    evaluation = evaluate(
        found.references,
        decisions,
        job.task,
        [*(level.name for level in job.levels), EXPERT],
        calls=sum(decision.calls for decision in decisions) if calls is None else calls,
        events_in=len(decisions) if events_in is None else events_in,
        dead_letters=found.dead,
        wall_s=wall_s,
    )
    settings = yaml.safe_dump(job.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    report = folder / "report.html"
    report.write_text(render(evaluation, title, settings, job.budget), encoding="utf-8")
    (folder / "summary.json").write_text(to_json(evaluation), encoding="utf-8")
    return Outcome(evaluation, report)

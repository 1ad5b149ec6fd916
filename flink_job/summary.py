"""The outcome of a run in a terminal."""

from __future__ import annotations

from rich.console import RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from flink_job.evaluation.results import Delivery, Evaluation, Scores
from flink_job.report.formats import UNKNOWN, count, percent, proportion, score


def summary_table(evaluation: Evaluation) -> RenderableType:
    """Lay out the headline numbers of a run. Prints nothing.

    Names from outside are shown as they are: markup in them is text.
    """
    quality = evaluation.quality
    rows: list[tuple[str, str]] = [
        ("events", count(evaluation.delivery.events_in)),
        *(
            (f"answered by {share.name}", f"{percent(share.share)}   {count(share.events)}")
            for share in evaluation.by_level
        ),
        ("LLM calls", _calls(evaluation)),
        ("agreement with the expert", proportion(quality.agreement)),
        ("the same of accepted answers, by audits", proportion(quality.agreement_audited)),
        ("accuracy", _accuracy(quality.cascade)),
        (_f1_name(quality.cascade), score(_f1(quality.cascade))),
        ("accuracy of the majority label", _accuracy(quality.majority)),
        ("dead letters", count(evaluation.dead_letters)),
        ("degraded answers", count(evaluation.degraded)),
    ]
    table = Table.grid(padding=(0, 3))
    table.add_column(style="bold")
    table.add_column()
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    table.add_row(Text("exactly one decision each"), _verdict(evaluation.delivery))
    return Panel.fit(table, title="Online cascade")


def _calls(evaluation: Evaluation) -> str:
    return (
        f"{count(evaluation.calls)} for {count(evaluation.delivery.events_in)} events "
        f"({percent(evaluation.calls_per_event)})"
    )


def _accuracy(scores: Scores | None) -> str:
    return UNKNOWN if scores is None else proportion(scores.accuracy)


def _f1(scores: Scores | None) -> float | None:
    if scores is None:
        return None
    return scores.macro_f1 if scores.positive is None else scores.positive.f1


def _f1_name(scores: Scores | None) -> str:
    if scores is None or scores.positive is None:
        return "macro-F1"
    return f"F1 of {scores.positive.label}"


def _verdict(delivery: Delivery) -> Text:
    if delivery.complete:
        return Text("yes", style="bold green")
    return Text(
        f"NO: {count(len(delivery.missing_ids))} missing, {count(len(delivery.doubled_ids))} "
        f"doubled, {count(len(delivery.unknown_ids))} unknown; {count(delivery.events_in)} events "
        f"in, {count(delivery.events_known)} in the source",
        style="bold red",
    )

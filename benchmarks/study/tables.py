"""One table of all results: means over seeds, beside the baselines that need no run."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.study.cells import Baselines, Figures, Result

Group = tuple[str, str, str, str]
"""Data set, half, order, cascade."""


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds, as many as there were."""

    mean: float
    deviation: float
    seeds: int

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.deviation / math.sqrt(self.seeds)


@dataclass(frozen=True)
class Row:
    """A method at a budget.

    Parameters
    ----------
    share
        The budget asked for, in calls an event; None for what has no budget.
    values
        By column of `COLUMNS`; shares in percent. A column that does not apply is missing.
    """

    group: Group
    method: str
    share: float | None
    values: Mapping[str, Spread]


_PERCENT: Mapping[str, Callable[[Figures], float | None]] = {
    "agreement": lambda f: f.agreement,
    "agreement, low": lambda f: f.low,
    "agreement, high": lambda f: f.high,
    "accuracy": lambda f: f.accuracy,
    "macro-F1": lambda f: f.macro_f1,
    "F1 of rare": lambda f: f.rare_f1,
    "recall of rare": lambda f: f.rare_recall,
    "answered small": lambda f: sum(f.answered[:-1]),
}
_PLAIN: Mapping[str, Callable[[Figures], float | None]] = {
    "calls": lambda f: float(f.calls),
    "CPU us/event": lambda f: f.cpu_us,
    "knob": lambda f: f.knob,
}
COLUMNS = (
    "calls", "agreement", "agreement, low", "agreement, high", "accuracy", "macro-F1",
    "F1 of rare", "recall of rare", "answered small", "CPU us/event", "knob",
)  # fmt: skip


def summarise(results: Sequence[Result]) -> list[Row]:
    """Rows by data set, budget and method; each group ends with expert alone and majority."""
    cells: dict[tuple[Group, float, str], list[Result]] = defaultdict(list)
    for result in results:
        cell = result.cell
        group: Group = (cell.set, cell.half, cell.order, cell.levels)
        cells[group, cell.share, cell.method].append(result)
    rows = []
    for group in sorted({group for group, _, _ in cells}):
        mine = sorted((key for key in cells if key[0] == group), key=lambda key: key[1:])
        rows += [
            Row(group, method, share, _values([r.figures for r in cells[key]]))
            for key in mine
            for _, share, method in [key]
        ]
        some = cells[mine[0]][0]
        rows += _trivial(group, some.baselines, some.figures.events)
    return rows


def _values(figures: Sequence[Figures]) -> dict[str, Spread]:
    values: dict[str, Spread] = {}
    for columns, factor in ((_PERCENT, 100.0), (_PLAIN, 1.0)):
        for name, pick in columns.items():
            found = [value for made in figures if (value := pick(made)) is not None]
            if found:
                values[name] = spread([factor * value for value in found])
    return values


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation; the latter is 0 for a single value."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return Spread(statistics.mean(values), deviation, len(values))


def _trivial(group: Group, known: Baselines, events: int) -> list[Row]:
    rows = {
        "expert alone": {
            "calls": float(events),
            "agreement": 100.0,
            "accuracy": 100 * known.expert_accuracy,
            "macro-F1": 100 * known.expert_macro_f1,
            "F1 of rare": _percent(known.expert_rare_f1),
            "recall of rare": _percent(known.expert_rare_recall),
        },
        "majority label": {
            "calls": 0.0,
            "agreement": 100 * known.majority_agreement,
            "accuracy": 100 * known.majority_accuracy,
            "macro-F1": 100 * known.majority_macro_f1,
            "F1 of rare": _percent(known.majority_rare_f1),
            "recall of rare": _percent(known.majority_rare_recall),
        },
    }
    return [
        Row(
            group,
            name,
            None,
            {column: spread([value]) for column, value in values.items() if value is not None},
        )
        for name, values in rows.items()
    ]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def to_csv(rows: Sequence[Row]) -> str:
    """Mean, deviation and number of seeds of every column, for machines."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    pairs = [f"{column}{suffix}" for column in COLUMNS for suffix in ("", " sd")]
    writer.writerow(["set", "half", "order", "levels", "method", "share", "seeds", *pairs])
    for row in rows:
        numbers: list[str] = []
        for column in COLUMNS:
            value = row.values.get(column)
            numbers += (
                ["", ""] if value is None else [f"{value.mean:.6g}", f"{value.deviation:.3g}"]
            )
        share = "" if row.share is None else f"{row.share:.4f}"
        writer.writerow([*row.group, row.method, share, row.values["calls"].seeds, *numbers])
    return text.getvalue()


def to_markdown(rows: Sequence[Row]) -> str:
    """Means ± standard deviations, for readers; percent."""
    shown = [column for column in COLUMNS if any(column in row.values for row in rows)]
    shown = [column for column in shown if not column.startswith("agreement, ")]
    shown.insert(2, "95 % interval")
    head = ["data set", "stream", "levels", "method", "seeds", *shown]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        name, half, order, levels = row.group
        cells = [_cell(row, column) for column in shown]
        seeds = str(row.values["calls"].seeds) if row.share is not None else "-"
        lines.append(
            f"| {' | '.join([name, f'{half}, {order}', levels, row.method, seeds, *cells])} |"
        )
    return "\n".join(lines) + "\n"


def _cell(row: Row, column: str) -> str:
    if column == "95 % interval":
        low, high = row.values.get("agreement, low"), row.values.get("agreement, high")
        return "-" if low is None or high is None else f"{low.mean:.1f} to {high.mean:.1f}"
    value = row.values.get(column)
    if value is None:
        return "-"
    if column == "knob":
        return f"{value.mean:.2g}"
    digits = 0 if column in ("calls", "CPU us/event") else 1
    mean = f"{value.mean:.{digits}f}"
    return mean if value.seeds == 1 else f"{mean} ± {value.deviation:.{digits}f}"

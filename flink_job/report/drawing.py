"""The curves of the plots, each drawn into axes that it is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter
from numpy.typing import ArrayLike

from flink_job.evaluation.results import Bin, Evaluation
from operators.settings import BudgetSettings

# Okabe and Ito's palette: told apart with every common colour blindness, and in grey.
_SMALL_LEVELS = ("#56b4e9", "#009e73", "#f0e442", "#cc79a7")
_EXPERT = "#d55e00"
_CASCADE = "#0072b2"
_AGREEMENT = "#009e73"
_GREY = "#595959"

_LONGEST_NAME = 24
"""Characters of a level's name in a legend."""
_HEADROOM = 0.02
"""Above the highest value, as a share of it: a line at the top must not be cut."""
SMOOTHED_BINS = 9
"""Bins that a line of the quality plot averages; the single bins are drawn as dots behind it."""
TICK_STEPS = (1, 2, 5, 10)
"""Ticks at round numbers of events and calls."""


def draw_levels(axes: Axes, evaluation: Evaluation) -> None:
    """Stack the shares of the levels, the expert on top."""
    series = evaluation.series
    # A step a bin, each from its first event to its last: a stream of one bin is visible too.
    edges = [0, *(b.end for b in series)]
    shares = np.array([[*b.shares] for b in (*series, series[-1])]).T
    names = [plain(name) for name in evaluation.levels]
    small = [_SMALL_LEVELS[i % len(_SMALL_LEVELS)] for i in range(len(names) - 1)]
    axes.stackplot(
        edges, shares, labels=names, colors=[*small, _EXPERT], step="post", linewidth=0, alpha=0.9
    )
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of the answers")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def draw_quality(axes: Axes, evaluation: Evaluation) -> None:
    """Draw running agreement and accuracy, with the baselines as straight lines."""
    series, quality = evaluation.series, evaluation.quality
    _draw_running(axes, series, [b.agreement for b in series], "agreement", _AGREEMENT, "o")
    _draw_running(axes, series, [b.accuracy for b in series], "accuracy", _CASCADE, "s")
    if quality.expert_alone is not None:
        axes.axhline(
            quality.expert_alone.accuracy.share,
            color=_EXPERT,
            linestyle="--",
            linewidth=1.4,
            label="accuracy of the expert alone",
        )
    if quality.majority is not None:
        axes.axhline(
            quality.majority.accuracy.share,
            color=_GREY,
            linestyle=":",
            linewidth=1.6,
            label="accuracy of the majority label",
        )
    axes.set_ylim(top=1 + _HEADROOM)
    axes.set_ylabel("share that is equal")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def draw_calls(axes: Axes, evaluation: Evaluation, budget: BudgetSettings | None) -> None:
    """Draw the calls so far, against the line of a call for every event."""
    events = [0, *(b.end for b in evaluation.series)]
    calls = [0, *(b.calls for b in evaluation.series)]
    axes.plot(
        [0, events[-1]],
        [0, events[-1]],
        color=_EXPERT,
        linestyle="--",
        linewidth=1.4,
        label="ask the LLM every time",
    )
    # What may be spent in an hour or a minute is no line over events.
    if budget is not None and budget.window is None:
        axes.plot(
            [0, events[-1]],
            _budget_line(budget, events[-1]),
            color=_GREY,
            linestyle=":",
            linewidth=1.6,
            label="budget",
        )
    axes.plot(events, calls, color=_CASCADE, linewidth=2, label="calls of the cascade")
    # A budget far beyond the stream may leave the axes: it must not flatten the calls.
    axes.set_ylim(0, max(events[-1], calls[-1]) * (1 + _HEADROOM))
    axes.set_ylabel("calls to the expert")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, steps=TICK_STEPS))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    if evaluation.cost_usd > 0 and calls[-1] > 0:
        _add_cost_scale(axes, evaluation.cost_usd / calls[-1])


def plain(name: str) -> str:
    """Make a name fit for a legend: printable ASCII, short, and shown even after an underscore."""
    shown = "".join(c if c.isascii() and c.isprintable() else "?" for c in name)
    if len(shown) > _LONGEST_NAME:
        shown = f"{shown[: _LONGEST_NAME - 3]}..."
    # matplotlib leaves labels that begin with an underscore out of the legend.
    return f" {shown}" if shown.startswith("_") else shown


def _draw_running(
    axes: Axes,
    series: Sequence[Bin],
    values: Sequence[float | None],
    label: str,
    color: str,
    marker: str,
) -> None:
    found = [(b.end, value) for b, value in zip(series, values, strict=True) if value is not None]
    if not found:
        return
    ends, shares = (np.array(column) for column in zip(*found, strict=True))
    axes.plot(ends, shares, marker, color=color, markersize=3, alpha=0.35, markeredgewidth=0)
    reach = SMOOTHED_BINS // 2
    smooth = [shares[max(0, i - reach) : i + reach + 1].mean() for i in range(len(shares))]
    axes.plot(
        ends, smooth, color=color, linewidth=2, label=label, marker=marker if len(ends) == 1 else ""
    )


def _budget_line(budget: BudgetSettings, events: int) -> list[float]:
    """Return the calls that are allowed at the start and at the end of the stream."""
    if budget.calls is not None:
        return [budget.calls, budget.calls]
    share = budget.share or 0.0
    return [share * budget.burst, share * (events + budget.burst)]


def _add_cost_scale(axes: Axes, usd_per_call: float) -> None:
    """Add a second scale on the right: the calls in dollars, at the run's mean price of a call."""

    def to_usd(calls: ArrayLike) -> ArrayLike:
        return np.asarray(calls, dtype=float) * usd_per_call

    def to_calls(usd: ArrayLike) -> ArrayLike:
        return np.asarray(usd, dtype=float) / usd_per_call

    scale = axes.secondary_yaxis("right", functions=(to_usd, to_calls))
    scale.set_ylabel("cost at the mean price, USD")

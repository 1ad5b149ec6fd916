"""The plots of the page: who answered, how well, and at how many calls, along the stream."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from flink_job.evaluation.results import Evaluation
from flink_job.report.drawing import (
    SMOOTHED_BINS,
    TICK_STEPS,
    draw_calls,
    draw_levels,
    draw_quality,
)
from operators.settings import BudgetSettings

_SIZE_INCHES = (7.6, 3.3)
_LEGEND_COLUMNS = 4
_LEGEND_CHARACTERS = 80
"""As many fit into one row; a longer legend has half the columns."""

_STYLE: dict[Any, Any] = {
    # Names come from outside: `$` and `\\` are characters in them, never mathematics.
    "text.parse_math": False,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    # The same evaluation gives the same bytes.
    "svg.hashsalt": "flink-online-cascade",
}


@dataclass(frozen=True)
class Plot:
    """A plot as an SVG document.

    Parameters
    ----------
    title
        What it shows, in a few words.
    note
        How to read it, a sentence.
    svg
        The document, UTF-8. Its text is drawn as paths and needs no font.
    """

    title: str
    note: str
    svg: bytes


def draw_plots(evaluation: Evaluation, budget: BudgetSettings | None = None) -> tuple[Plot, ...]:
    """Draw the plots that the evaluation has the numbers for.

    Parameters
    ----------
    evaluation
        Its series is drawn.
    budget
        Drawn as a line among the calls if given.

    Returns
    -------
    tuple of Plot
        Levels, quality and calls. None at all without events; no quality without anything to
        compare with.
    """
    series = evaluation.series
    if not series:
        return ()
    plots = [
        Plot(
            title="Who answered",
            note="Share of the levels along the stream; the expert on top.",
            svg=_to_svg(draw_levels, evaluation),
        )
    ]
    if any(b.agreement is not None or b.accuracy is not None for b in series):
        plots.append(
            Plot(
                title="How well",
                note=f"Dots: stretches of about {series[0].end} events; "
                f"lines: mean of the {SMOOTHED_BINS} stretches around. "
                "Straight lines: over the whole stream.",
                svg=_to_svg(draw_quality, evaluation),
            )
        )
    plots.append(
        Plot(
            title="Calls and cost",
            note="Calls to the expert so far, as written on the decisions.",
            svg=_to_svg(partial(draw_calls, budget=budget), evaluation),
        )
    )
    return tuple(plots)


def _to_svg(draw: Callable[[Axes, Evaluation], None], evaluation: Evaluation) -> bytes:
    """Draw into a fresh figure, without pyplot and its global state."""
    with rc_context(_STYLE):
        figure = _make_figure(draw, evaluation)
        buffer = io.BytesIO()
        metadata: dict[str, Any] = {"Date": None}
        figure.savefig(buffer, format="svg", metadata=metadata)
    return buffer.getvalue()


def _make_figure(draw: Callable[[Axes, Evaluation], None], evaluation: Evaluation) -> Figure:
    """Make a figure with the events below and the legend above the axes, where it hides nothing."""
    figure = Figure(figsize=_SIZE_INCHES)
    axes = figure.add_subplot()
    draw(axes, evaluation)
    axes.set_xlim(0, evaluation.series[-1].end)
    axes.set_xlabel("events of the stream so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=TICK_STEPS))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    _, labels = axes.get_legend_handles_labels()
    fits = len(labels) <= _LEGEND_COLUMNS and sum(map(len, labels)) <= _LEGEND_CHARACTERS
    figure.legend(loc="outside upper left", ncols=_LEGEND_COLUMNS if fits else _LEGEND_COLUMNS // 2)
    return figure

"""Figures: quality against calls, as in the paper's Figures 3 to 9."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from matplotlib import colormaps
from matplotlib.figure import Figure

from benchmarks.study.tables import Row

_PANELS = ("agreement", "accuracy", "macro-F1", "F1 of rare", "recall of rare")
_LINES = {"expert alone": ("black", "--"), "majority label": ("grey", ":")}
_HIGHLIGHTED = ("budgeted", "paper")
_PANEL_INCHES = (4.2, 3.6)


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """A file for each group of rows; its panels show what the group has."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for group, members in groupby(rows, key=lambda row: row.group):
        mine = list(members)
        panels = [name for name in _PANELS if any(name in row.values for row in mine)]
        width, height = _PANEL_INCHES
        figure = Figure((width * len(panels), height), layout="constrained")
        for place, name in enumerate(panels, start=1):
            axes = figure.add_subplot(1, len(panels), place)
            axes.set_xlabel("LLM calls")
            axes.set_ylabel(f"{name}, %")
            for row in mine:
                if row.method in _LINES and name in row.values and name != "agreement":
                    colour, style = _LINES[row.method]
                    axes.axhline(
                        row.values[name].mean, color=colour, linestyle=style, label=row.method
                    )
            for number, method in enumerate(dict.fromkeys(r.method for r in mine if r.share)):
                curve = [r for r in mine if r.method == method and name in r.values]
                axes.errorbar(
                    [r.values["calls"].mean for r in curve],
                    [r.values[name].mean for r in curve],
                    yerr=[r.values[name].deviation for r in curve],
                    label=method,
                    color=colormaps["tab20"](number % 20),
                    marker="o",
                    markersize=3,
                    linewidth=2.4 if method in _HIGHLIGHTED else 1.0,
                )
        handles, labels = figure.axes[-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", fontsize="small")
        figure.suptitle(", ".join(group))
        path = folder / f"{'-'.join(group)}.png"
        figure.savefig(path, dpi=120)
        written.append(path)
    return written

"""The page of a run: self-contained HTML that can be mailed, archived and printed."""

from __future__ import annotations

import base64

from jinja2 import Environment, PackageLoader, StrictUndefined

from flink_job.evaluation.results import Evaluation
from flink_job.report import formats
from flink_job.report.plots import draw_plots
from operators.settings import BudgetSettings

_TEMPLATE = "page.html.j2"
_SHOWN_IDS = 20
"""Ids that are listed of each kind; all of them are in ``summary.json``."""


def render(
    evaluation: Evaluation,
    title: str,
    settings_yaml: str,
    budget: BudgetSettings | None = None,
) -> str:
    """Render an evaluation as one HTML page.

    Parameters
    ----------
    evaluation
        What the page is about.
    title
        The page's title: the name of the run.
    settings_yaml
        The settings of the run as text. Printed as it is: hold secrets back before.
    budget
        What was allowed, drawn as a line among the calls if given.

    Returns
    -------
    str
        HTML that loads nothing and runs nothing: plots are inline images, all text from outside
        is escaped.
    """
    template = _environment().get_template(_TEMPLATE)
    return template.render(
        evaluation=evaluation,
        title=title,
        settings_yaml=settings_yaml,
        shown_ids=_SHOWN_IDS,
        # As images, not as inline elements: an image runs no script and shares no ids.
        plots=[
            (plot.title, plot.note, base64.b64encode(plot.svg).decode())
            for plot in draw_plots(evaluation, budget)
        ],
    )


def _environment() -> Environment:
    environment = Environment(
        # On for every name: jinja's own choice by file ending would leave `.j2` unescaped.
        autoescape=True,
        loader=PackageLoader("flink_job.report", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=formats.count,
        percent=formats.percent,
        proportion=formats.proportion,
        score=formats.score,
        dollars=formats.dollars,
    )
    return environment

from __future__ import annotations

import json
import re

from operators.flink import metrics as m
from tests.docker.dashboards import DASHBOARD, expressions, metrics

OURS = {metric.prometheus: metric for metric in m.ALL}


def test_the_dashboard_shows_every_metric_of_ours() -> None:
    named = {name for name in metrics() if "_job_task_operator_" in name}
    assert named == set(OURS)


def test_queries_select_and_group_by_labels_that_there_are() -> None:
    labels = {metric.label for metric in m.ALL if metric.label}
    flinks = {"job_name", "task_name"}
    for query in expressions():
        assert query.count("(") == query.count(")")
        for group in re.findall(r"by \((\w+)\)", query):
            assert group in labels | flinks, query
        for name, selector in re.findall(r"(flink_\w+)\{([^}]*)\}", query):
            own = {OURS[name].label} if name in OURS else set()
            chosen = set(re.findall(r'(\w+)=~?"', selector))
            assert chosen <= own | flinks, query


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)

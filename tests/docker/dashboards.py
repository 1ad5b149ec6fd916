"""What the Grafana dashboard asks Prometheus for."""

from __future__ import annotations

import json
import re
from pathlib import Path

DASHBOARD = Path(__file__).parents[2] / "docker/grafana/dashboards/cascade.json"


def expressions() -> list[str]:
    """Every query of every panel, and those of its variables."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = [target["expr"] for p in dashboard["panels"] for target in p.get("targets", ())]
    variables = [v["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
    return panels + variables


def metrics() -> set[str]:
    """Names of all metrics in them."""
    return {name for query in expressions() for name in re.findall(r"\bflink_\w+", query)}

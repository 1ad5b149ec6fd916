"""Runs scenarios, and prints the table."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.chaos.on_cluster import on_cluster
from benchmarks.chaos.row import Row, to_markdown
from benchmarks.chaos.scenarios import ALL, RATE, Scenario, Theatre
from benchmarks.chaos.servers import RestartableRedis
from benchmarks.chaos.stage import staged
from flink_job.standalone import StandaloneCluster

_TASK_MANAGERS = 2


def perform(scenario: Scenario, folder: Path) -> Row:
    """Run one scenario on a cluster of its own."""
    with (
        RestartableRedis(folder) as redis,
        staged(scenario.play, folder, redis.url) as stage,
        StandaloneCluster(folder / "cluster", environment=stage.environment) as cluster,
    ):
        with on_cluster(stage, cluster, _TASK_MANAGERS) as job:
            stage.feed(200)
            stage.until_moving()
            with stage.feeding(RATE):
                scenario.happen(Theatre(job, redis, time.sleep))
        return stage.row()


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Some of {', '.join(ALL)}.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep what was written here.")] = None,
) -> None:
    """Count both ends of a job while parts of the system die."""
    unknown = set(names or ()) - ALL.keys()
    if unknown:
        raise typer.BadParameter(f"there is no {', '.join(sorted(unknown))}")
    # Whatever ends this process ends the cluster with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        for name in names or ALL:
            row = perform(ALL[name], (keep or Path(folder)) / name)
            rows.append(row)
            print(to_markdown([row]).splitlines()[-1], file=sys.stderr, flush=True)
    print(to_markdown(rows))
    if not all(row.holds for row in rows):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)

"""Times `flink-cascade replay` beside `flink-cascade run` on the same job, and prints the ratio.

    python -m benchmarks.replay_ratio DATA_FOLDER [--rounds 1]

DATA_FOLDER is that of real_runs.py. Each round runs, for each data set and budget, a replay, the
Flink job and another replay as whole commands, one after the other, so that what else the machine
does weighs on both. `command` is the wall time of the command, start and report included; `loop`
that of the stream alone, as `summary.json` has it; `cpu` the processor time of all its processes.
Each cell is job, replay, ratio.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.real_runs import job
from benchmarks.recorded import SETS, DataSet

_PR_SET_CHILD_SUBREAPER = 36  # of linux/prctl.h
_MAIN = "from flink_job.cli import app; app()"


@dataclass(frozen=True)
class Timing:
    """Seconds that one command took."""

    command: float
    loop: float
    cpu: float


def time_command(command: str, data: DataSet, calls: int, folder: Path) -> Timing:
    """Run a data set once, as a user would."""
    with tempfile.TemporaryDirectory() as scratch:
        source = (folder / f"{data.name}.csv.gz").absolute()
        settings = job(data, source, Path(scratch) / "out", 0, budget={"calls": calls})
        file = Path(scratch) / "job.yaml"
        file.write_text(yaml.safe_dump(settings.model_dump(mode="json")), encoding="utf-8")
        before, started = os.times(), time.monotonic()
        subprocess.run(  # noqa: S603  # this interpreter, on a file that was just written
            [sys.executable, "-c", _MAIN, command, str(file)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        took = time.monotonic() - started
        _reap()
        after = os.times()
        summary = json.loads((Path(scratch) / "out" / "summary.json").read_text(encoding="utf-8"))
    cpu = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    return Timing(took, summary["wall_s"], cpu)


def _adopt_orphans() -> None:
    """Become the parent of processes whose own parent ends first: a job's JVM is one."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _reap() -> None:
    """Wait for all of them, so that their processor time is counted."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def mean(timings: list[Timing], what: str) -> float:
    """Mean of one of the figures."""
    return float(statistics.mean(getattr(timing, what) for timing in timings))


def main() -> None:
    """Run everything and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    print(
        "| data set | calls | command: job, replay, ratio | loop: job, replay, ratio | cpu: ... |"
    )
    print("|---|---|---|---|---|")
    for data in SETS:
        for calls in (data.calls[0], data.calls[-1]):
            replays: list[Timing] = []
            jobs: list[Timing] = []
            for _ in range(options.rounds):
                for command, timings in (("replay", replays), ("run", jobs), ("replay", replays)):
                    timings.append(time_command(command, data, calls, options.data))
            cells = []
            for what in ("command", "loop", "cpu"):
                run, replay = mean(jobs, what), mean(replays, what)
                cells.append(f"{run:.1f} s, {replay:.2f} s, **{run / replay:.1f}**")
            print(f"| {data.name} | {calls} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()

"""Replays real data sets with the encoder frozen and with its top layers fine-tuned online.

    python -m benchmarks.finetuning DATA_FOLDER MODEL [--layers 0 1 2]
        [--sets isear hatespeech] [--budgets low] [--seeds 2] [--cache FOLDER]

Data, seeds and budgets are as in encoder_runs.py: linear → encoder → recorded expert. `time_share`
is 1, so that every step that is due is made, and a run follows from its seed alone. "Steps" is the
CPU time of the gradient steps by label.
"""

from __future__ import annotations

import argparse
import time
from typing import Any
from unittest import mock

from benchmarks.encoder_runs import (
    Case,
    arguments,
    calls_at,
    encoder,
    line,
    linear,
    replayed,
    show_header,
)
from benchmarks.recorded import DataSet, named
from operators.levels.encoder.finetune import Tuner
from operators.levels.encoder.tuning import Round


def cases(data: DataSet, options: argparse.Namespace) -> list[Case]:
    """One for each budget and number of layers."""
    return [
        Case(
            f"{layers} tuned" if layers else "frozen",
            calls,
            {
                "levels": [
                    linear(data),
                    encoder(
                        data,
                        options.model,
                        top_layers=layers,
                        finetune={"time_share": 1.0},
                    ),
                ]
            },
        )
        for calls in calls_at(data, options)
        for layers in options.layers
    ]


def main() -> None:
    """Run everything and print Markdown."""
    parser = arguments(__doc__)
    parser.set_defaults(budgets=["low"])
    parser.add_argument("--layers", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    plain, steps_s = Tuner.round, list[float]()

    def timed(tuner: Tuner, *arguments: Any) -> Round:
        began_s = time.process_time()
        made = plain(tuner, *arguments)
        steps_s.append(time.process_time() - began_s)
        return made

    show_header("steps, CPU ms a label")
    with mock.patch.object(Tuner, "round", timed):
        for data in named(options.sets):
            for case, runs in replayed(data, options, cases(data, options)):
                cost = 1e3 * sum(steps_s) / sum(run.calls for run in runs)
                print(line(data, case, runs), f"{cost:.0f} |", flush=True)
                steps_s.clear()


if __name__ == "__main__":
    main()

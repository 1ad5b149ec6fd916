"""The course of a run: the stream in stretches of equal length, for the plots."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from flink_job.evaluation.joining import Reference
from flink_job.evaluation.results import Bin
from operators.records import Decision

_BINS = 100
"""As many as a plot shows apart."""
_LEAST_EVENTS = 20
"""A share among fewer events says nothing: a short stream has fewer bins."""


def running_series(
    references: Sequence[Reference], answers: Sequence[Decision | None], levels: Sequence[str]
) -> tuple[Bin, ...]:
    """Cut the stream into at most 100 bins of nearly equal length.

    Parameters
    ----------
    references, answers
        Events in stream order and their decisions, of one length.
    levels
        Names of the levels; every decision is by one of them.

    Returns
    -------
    tuple of Bin
        In stream order; empty without references.
    """
    if not references:
        return ()
    bins = min(_BINS, max(1, len(references) // _LEAST_EVENTS))
    edges = np.linspace(0, len(references), bins + 1).round().astype(int).tolist()
    series: list[Bin] = []
    calls = 0
    for start, end in pairwise(edges):
        decided = [
            (reference, answer)
            for reference, answer in zip(references[start:end], answers[start:end], strict=True)
            if answer is not None
        ]
        calls += sum(answer.calls for _, answer in decided)
        series.append(
            Bin(
                end=end,
                shares=tuple(
                    sum(answer.level == level for _, answer in decided) / max(1, len(decided))
                    for level in levels
                ),
                calls=calls,
                agreement=_mean([r.expert == a.label for r, a in decided if r.expert is not None]),
                accuracy=_mean([r.label == a.label for r, a in decided if r.label is not None]),
            )
        )
    return tuple(series)


def _mean(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None

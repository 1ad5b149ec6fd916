"""The numbers behind the metrics: plain objects that count, and that Flink reads at a bundle's end.

Beam's counters are lost when they are touched on an event loop, and each costs a call for every
step. A gauge is read once a bundle, whoever counts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol, Self

from operators.flink.metrics import INFINITE, OTHER, Metric


class MetricGroup(Protocol):
    """What is used of PyFlink's metric group."""

    def add_group(self, name: str, extra: str | None = None) -> Self:
        """A group below this one; with `extra`, a label and its value."""

    def gauge(self, name: str, obj: Callable[[], int]) -> None:
        """Report what a function returns."""


class Meters:
    """The metrics of one subtask.

    Parameters
    ----------
    group
        Of the operator, from its runtime context; None where `python.metric.enabled` is false.
    """

    def __init__(self, group: MetricGroup | None) -> None:
        self._group = group

    def show(self, metric: Metric, read: Callable[[], float], value: str | None = None) -> None:
        """Report what `read` returns at the end of each bundle; it must never raise.

        Parameters
        ----------
        value
            Of the metric's label, for a family.
        """
        if self._group is None:
            return
        group = self._group.add_group(metric.scope)
        if metric.label is not None:
            assert value is not None, f"{metric.name} is told apart by {metric.label}"
            group = group.add_group(metric.label, value)
        group.gauge(metric.name, lambda: round(read()))

    def count(self, metric: Metric) -> Count:
        """A single metric that counts."""
        counted = Count()
        self.show(metric, lambda: counted.total)
        return counted

    def tally(self, metric: Metric, values: Iterable[str]) -> Tally:
        """A family that counts, with a member for each of `values` and one for all others."""
        counted = Tally((*values, OTHER))
        for value in counted.totals:
            self.show(metric, partial(counted.totals.__getitem__, value), value)
        return counted

    def histogram(self, metric: Metric, bounds: Sequence[int]) -> Histogram:
        """A family that counts by size, cumulatively, as Prometheus does."""
        counted = Histogram(bounds)
        for row, bound in enumerate((*map(str, bounds), INFINITE)):
            self.show(metric, partial(counted.at_most.__getitem__, row), bound)
        return counted


class Count:
    """A number that grows."""

    total = 0

    def add(self, amount: int = 1) -> None:
        """Count."""
        self.total += amount


class Tally:
    """Numbers that grow, by name; unknown names are counted together."""

    def __init__(self, names: Iterable[str]) -> None:
        self.totals = dict.fromkeys(names, 0)

    def add(self, name: str, amount: int = 1) -> None:
        """Count under a name."""
        self.totals[name if name in self.totals else OTHER] += amount


class Histogram:
    """How many values were at most each of the bounds; the last number is of all of them."""

    def __init__(self, bounds: Sequence[int]) -> None:
        self._bounds = bounds
        self.at_most = [0] * (len(bounds) + 1)

    def add(self, value: float) -> None:
        """Count a value."""
        for row in range(bisect_left(self._bounds, value), len(self.at_most)):
            self.at_most[row] += 1

"""A metric group that remembers what was registered in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from operators.flink.metrics import Metric


@dataclass
class FakeGroup:
    path: tuple[str, ...] = ()
    gauges: dict[tuple[str, ...], Callable[[], int]] = field(default_factory=dict)

    def add_group(self, name: str, extra: str | None = None) -> FakeGroup:
        below = (name,) if extra is None else (name, extra)
        return FakeGroup(self.path + below, self.gauges)

    def gauge(self, name: str, obj: Callable[[], int]) -> None:
        place = (*self.path, name)
        assert place not in self.gauges, f"{place} is there already"
        self.gauges[place] = obj

    def read(self, metric: Metric, value: str | None = None) -> int:
        labelled = () if metric.label is None else (metric.label, value or "")
        number = self.gauges[(metric.scope, *labelled, metric.name)]()
        assert type(number) is int  # PyFlink takes no other
        return number

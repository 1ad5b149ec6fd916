from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from operators.flink.meters import Histogram, Meters, Tally
from operators.flink.metrics import ALL, INFINITE, OTHER, Metric
from tests.operators.flink.groups import FakeGroup

SINGLE = Metric("op", "things", "Things.")
FAMILY = Metric("op", "things", "Things.", "kind")


def test_names_are_unique_and_fit_prometheus() -> None:
    names = [metric.prometheus for metric in ALL]
    assert len(set(names)) == len(names) > 30
    assert all(name.replace("_", "").isalnum() and name.islower() for name in names)
    assert FAMILY.prometheus == "flink_taskmanager_job_task_operator_op_kind_things"


def test_values_are_read_when_they_are_reported() -> None:
    group, box = FakeGroup(), [0.4]
    Meters(group).show(SINGLE, lambda: box[0])
    assert group.read(SINGLE) == 0
    box[0] = 1e6 * 0.9999999
    assert group.read(SINGLE) == 1_000_000


def test_unknown_names_are_counted_together() -> None:
    group = FakeGroup()
    tally = Meters(group).tally(FAMILY, ["timeout"])
    for name in ("timeout", "http_418", "timeout", "http_451"):
        tally.add(name)
    assert group.read(FAMILY, "timeout") == 2
    assert group.read(FAMILY, OTHER) == 2


def test_without_flinks_metrics_counting_costs_nothing_but_the_numbers() -> None:
    count = Meters(None).count(SINGLE)
    count.add(3)
    assert count.total == 3


@given(st.lists(st.floats(0, 1e9)))
def test_a_histogram_is_cumulative(values: list[float]) -> None:
    bounds = (1, 10, 1000)
    histogram = Histogram(bounds)
    for value in values:
        histogram.add(value)
    assert histogram.at_most == [
        *(sum(value <= bound for value in values) for bound in bounds),
        len(values),
    ]


def test_each_bucket_reports_its_own_number() -> None:
    group, family = FakeGroup(), Metric("op", "ms_bucket", "Times.", "le")
    histogram = Meters(group).histogram(family, (10, 100))
    for value in (10, 11, 1000):
        histogram.add(value)
    assert [group.read(family, le) for le in ("10", "100", INFINITE)] == [1, 2, 3]


@given(st.lists(st.sampled_from(["a", "b", "c", "d"])))
def test_a_tally_loses_nothing(names: list[str]) -> None:
    tally = Tally(["a", "b", OTHER])
    for name in names:
        tally.add(name)
    assert sum(tally.totals.values()) == len(names)

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flink_job.evaluation import Evaluation
from flink_job.report.drawing import draw_calls, draw_levels, draw_quality, plain
from operators.settings import BudgetSettings

Make = Callable[..., Evaluation]


@pytest.fixture
def axes() -> Axes:
    return Figure().add_subplot()


def lines(axes: Axes) -> dict[str, list[float]]:
    return {
        str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in axes.get_lines()
    }


def test_levels_have_an_area_each_in_their_order(axes: Axes, make: Make) -> None:
    draw_levels(axes, make(levels=("linear", "encoder", "expert")))
    assert axes.get_legend_handles_labels()[1] == ["linear", "encoder", "expert"]


def test_many_levels_are_all_drawn_and_the_expert_keeps_its_colour(axes: Axes, make: Make) -> None:
    draw_levels(axes, make(levels=(*"abcdef", "expert")))
    colours = [np.asarray(area.get_facecolor()).tolist() for area in axes.collections]
    assert len(colours) == 7
    assert colours.count(colours[-1]) == 1


def test_calls_add_up_below_the_line_of_a_call_for_every_event(axes: Axes, make: Make) -> None:
    draw_calls(axes, make(60), None)
    drawn = lines(axes)
    assert drawn["calls of the cascade"] == [0, 20, 30, 30]
    assert drawn["ask the LLM every time"] == [0, 60]
    assert "budget" not in drawn


def test_the_budget_is_a_flat_line_or_a_rising_one(make: Make) -> None:
    flat, rising = Figure().add_subplot(), Figure().add_subplot()
    draw_calls(flat, make(60), BudgetSettings(calls=30))
    draw_calls(rising, make(60), BudgetSettings(share=0.1, burst=40))
    assert lines(flat)["budget"] == [30, 30]
    assert lines(rising)["budget"] == pytest.approx([4, 10])


def test_a_budget_by_the_clock_is_no_line_over_events(axes: Axes, make: Make) -> None:
    draw_calls(axes, make(), BudgetSettings(per_hour=30))
    assert "budget" not in lines(axes)


def test_a_huge_budget_does_not_flatten_the_calls(axes: Axes, make: Make) -> None:
    draw_calls(axes, make(60), BudgetSettings(calls=1_000_000))
    assert axes.get_ylim()[1] < 100


@pytest.mark.parametrize(("cost_usd_micros", "scales"), [(0, 0), (100, 1)])
def test_cost_has_a_scale_if_there_is_any(
    axes: Axes, make: Make, cost_usd_micros: int, scales: int
) -> None:
    draw_calls(axes, make(cost_usd_micros=cost_usd_micros), None)
    assert len(axes.child_axes) == scales


def test_quality_draws_what_is_known(make: Make) -> None:
    both, no_gold, no_expert = (Figure().add_subplot() for _ in range(3))
    draw_quality(both, make())
    draw_quality(no_gold, make(gold=False))
    draw_quality(no_expert, make(expert=False))
    labels = [one.get_legend_handles_labels()[1] for one in (both, no_gold, no_expert)]
    assert labels == [
        [
            "agreement",
            "accuracy",
            "accuracy of the expert alone",
            "accuracy of the majority label",
        ],
        ["agreement"],
        ["accuracy", "accuracy of the majority label"],
    ]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("linear", "linear"),
        ("_hidden", " _hidden"),
        ("a\x00b\nc", "a?b?c"),
        ("情", "?"),
        ("x" * 64, "x" * 21 + "..."),
        ("$\\frac$", "$\\frac$"),
    ],
)
def test_names_are_made_fit_for_a_legend(name: str, shown: str) -> None:
    assert plain(name) == shown

from collections.abc import Callable
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest

from flink_job.evaluation import Evaluation
from flink_job.report.plots import draw_plots

Make = Callable[..., Evaluation]


def parse(svg: bytes) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314  # the product's own output, not somebody's upload


def test_three_plots_that_are_svg_documents(make: Make) -> None:
    plots = draw_plots(make())
    assert [plot.title for plot in plots] == ["Who answered", "How well", "Calls and cost"]
    for plot in plots:
        assert parse(plot.svg).tag == "{http://www.w3.org/2000/svg}svg"


def test_without_anything_to_compare_with_there_is_no_plot_of_quality(make: Make) -> None:
    plots = draw_plots(make(gold=False, expert=False))
    assert [plot.title for plot in plots] == ["Who answered", "Calls and cost"]


@pytest.mark.parametrize("events", [1, 2, 19])
def test_short_streams_can_be_drawn(make: Make, events: int) -> None:
    assert len(draw_plots(make(events))) == 3


def test_no_events_no_plots(make: Make) -> None:
    assert draw_plots(make(0)) == ()


def test_events_without_decisions_can_be_drawn(make: Make) -> None:
    assert len(draw_plots(make(30, decided=0))) == 2


@pytest.mark.parametrize(
    "name", ["$\\undefined{$", "$", "<script>alert(1)</script>", "-->", "a\x00b", "_", "{}", "%s"]
)
def test_hostile_names_of_levels_are_drawn_as_text(make: Make, name: str) -> None:
    for plot in draw_plots(make(levels=(name, "expert"))):
        tags = {element.tag.rpartition("}")[2] for element in parse(plot.svg).iter()}
        assert "script" not in tags


def test_drawing_leaves_the_settings_of_matplotlib_alone_and_repeats(make: Make) -> None:
    before = dict(mpl.rcParams)
    evaluation = make()
    assert draw_plots(evaluation) == draw_plots(evaluation)
    assert dict(mpl.rcParams) == before

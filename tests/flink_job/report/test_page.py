import base64
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from flink_job.evaluation import Evaluation
from flink_job.report.page import render
from operators.settings import BudgetSettings

Make = Callable[..., Evaluation]

_VOID = {"meta", "img", "br", "link"}
_ATTACK = "<script>alert('$x$')</script>\"&"


class Page(HTMLParser):
    """The page's elements and text; fails on elements that are not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.text += " "
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_says_the_headline_numbers(make: Make) -> None:
    page = Page(render(make(), "My run", "task: {}", BudgetSettings(calls=30)))
    for expected in (
        "My run",
        "60 events 4.0 s, 15 events/s",
        "50.0 % LLM calls per event",
        "30 calls, $0.0030",
        "2 dead letters",
        "Every event was decided exactly once.",
        "100.0 % agreement with the expert",
        "always “no”",
        "F1 of yes",
        "task: {}",
    ):
        assert expected in page.text


def test_the_page_loads_nothing(make: Make) -> None:
    html = render(make(), "t", "s")
    page = Page(html)
    assert len(page.sources) == 3
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    for source in page.sources:
        assert b"<svg" in base64.b64decode(source.partition(",")[2], validate=True)
    without_images = re.sub(r'src="data:[^"]*"', "", html)
    assert "http:" not in without_images
    assert "https:" not in without_images
    assert "url(" not in without_images


def test_all_text_from_outside_is_escaped(make: Make) -> None:
    evaluation = make(
        labels=("a" + _ATTACK, "b" + _ATTACK),
        levels=("l" + _ATTACK, "expert" + _ATTACK),
        failure="f" + _ATTACK,
    )
    page = Page(render(evaluation, "t" + _ATTACK, "s" + _ATTACK))
    assert "script" not in page.tags
    for prefix in "ablfts":
        assert prefix + _ATTACK in page.text


def test_ids_of_lost_events_are_escaped_and_not_all_listed(make: Make) -> None:
    page = Page(render(make(60, decided=30, prefix="<b>e"), "t", "s"))
    assert page.tags.count("b") == 1 + 3, "the verdict and the captions, and no more"
    assert "Not every event was decided exactly once." in page.text
    assert "30 without a decision: <b>e30, <b>e31" in page.text
    assert "e49" in page.text
    assert "e50" not in page.text


@pytest.mark.parametrize(
    "case",
    [
        {"gold": False},
        {"expert": False},
        {"gold": False, "expert": False},
        {"events": 1},
        {"events": 0},
        {"decided": 0},
    ],
)
def test_what_is_not_known_is_said(make: Make, case: dict[str, int]) -> None:
    text = Page(render(make(**case), "t", "s")).text
    assert "None" not in text
    assert "nan" not in text
    lacking = case.get("events") != 1
    assert ("not known: the source lacks what it needs" in text) == lacking


def test_the_positive_label_is_named_even_if_nothing_was_decided(make: Make) -> None:
    assert "F1 of yes" in Page(render(make(decided=0), "t", "s")).text

"""Rules are read as written, and every symbol of the demo's rules can be written out."""

import random
from collections import ChainMap

import pytest

from flink_job.demo.eras import FIRST, SECOND, Era
from flink_job.demo.grammar import Rules, expand, parse_rules
from flink_job.demo.phrases import SHARED


def test_rules_go_on_over_indented_lines() -> None:
    rules = parse_rules("\ngreeting: hot take: {who} |\n    hello\n    there\nwho: you\n")
    assert rules == {"greeting": ("hot take: {who}", "hello there"), "who": ("you",)}


def test_slots_are_filled_to_any_depth() -> None:
    rules = parse_rules("a: {b} and {b}\nb: <{c}>\nc: x")
    assert expand(random.Random(0), rules, "a") == "<x> and <x>"


def test_an_unknown_symbol_is_an_error() -> None:
    with pytest.raises(KeyError):
        expand(random.Random(0), parse_rules("a: {b}"), "a")


@pytest.mark.parametrize("era", [FIRST, SECOND])
def test_every_topic_has_every_symbol(era: Era) -> None:
    rng = random.Random(0)
    for topic in era.topics:
        rules: Rules = ChainMap({"user": ("@a",)}, dict(topic), dict(era.abuse), dict(SHARED))
        # Each template alone, so that none is left to chance.
        for symbol, templates in rules.items():
            for template in templates:
                text = expand(rng, ChainMap({symbol: (template,)}, dict(rules)), symbol)
                assert text
                assert not set(text) & set("{}|")

"""Halves and orders of a stream."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.study.streams import Item, chosen, half_of
from flink_job.evaluation import Reference
from tests.operators.fakes import event

ITEMS = [
    Item(event(n, "x" * (n * 7 % 50)), Reference(f"e{n}", "rare" if n % 5 == 0 else "common", "y"))
    for n in range(200)
]


def ids(items: list[Item]) -> list[str]:
    return [item.event.id for item in items]


def test_each_event_is_in_exactly_one_half() -> None:
    first = ids(chosen(ITEMS, "development", "shuffled", 0))
    second = ids(chosen(ITEMS, "report", "shuffled", 0))
    assert sorted(first + second) == sorted(ids(ITEMS))
    assert 60 < len(first) < 140


@given(st.text())
def test_a_half_follows_from_the_id_alone(identity: str) -> None:
    assert half_of(identity) in ("development", "report")
    assert half_of(identity) == half_of(identity)


def test_seeds_give_different_orders_of_the_same_events() -> None:
    first, again, other = (chosen(ITEMS, "all", "shuffled", seed) for seed in (0, 0, 1))
    assert ids(first) == ids(again) != ids(other)
    assert sorted(ids(first)) == sorted(ids(other))


def test_by_length_texts_only_grow() -> None:
    lengths = [len(item.event.text) for item in chosen(ITEMS, "all", "length", 3)]
    assert lengths == sorted(lengths)


def test_by_label_the_most_frequent_comes_first_and_the_rest_is_shuffled() -> None:
    made = chosen(ITEMS, "all", "label", 3)
    labels = [item.reference.label for item in made]
    assert labels == ["common"] * 160 + ["rare"] * 40
    assert ids(made) != ids(chosen(ITEMS, "all", "label", 4))
    assert Counter(labels)["common"] == 160


def test_as_in_the_source_no_seed_moves_anything() -> None:
    assert ids(chosen(ITEMS, "all", "source", 3)) == ids(ITEMS)

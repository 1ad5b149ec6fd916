"""Counting at both ends: what is lost, what is doubled, what was never put in."""

from __future__ import annotations

import pytest

from benchmarks.chaos.row import Row, count, to_markdown
from operators.records import Decision, Reason


def decision(name: str, level: str = "linear", **changes: object) -> Decision:
    return Decision(name, name, "t", "", "ok", (1.0,), level, None, Reason.POLICY, 0.5, **changes)


def row(*decisions: Decision, calls: int = 0, budget: int = 10) -> Row:
    return count("s", ["a", "b", "c"], decisions, calls=calls, under_way=0, budget=budget, kills=0)


ALL = [decision("a"), decision("b", "expert", calls=1), decision("c")]


def test_one_decision_each_holds() -> None:
    found = row(*ALL, calls=1)
    assert (found.lost, found.doubled, found.deferred, found.per_paid) == (0, 0, 1, "1.000")
    assert found.holds


@pytest.mark.parametrize(
    ("decisions", "lost", "doubled"),
    [
        (ALL[:2], 1, 0),
        ([*ALL, ALL[0], ALL[0]], 0, 2),
        ([*ALL, decision("never put in")], 0, 1),
        ([*ALL[:2], ALL[0]], 1, 1),
        ([], 3, 0),
    ],
)
def test_what_is_lost_or_doubled_is_counted(
    decisions: list[Decision], lost: int, doubled: int
) -> None:
    found = row(*decisions)
    assert (found.lost, found.doubled, found.holds) == (lost, doubled, False)


def test_a_call_too_many_does_not_hold() -> None:
    assert row(*ALL, calls=10).holds
    assert not row(*ALL, calls=11).holds


def test_who_was_refused_is_deferred_and_not_paid() -> None:
    refused = decision("a", failure="budget", degraded=True)
    failed = decision("b", failure="timeout", degraded=True, calls=2)
    found = row(refused, failed, ALL[2], calls=2)
    assert (found.deferred, found.paid, found.degraded, found.per_paid) == (2, 1, 2, "2.000")


def test_the_table_has_a_cell_for_each_head() -> None:
    cells = {line.count("|") for line in to_markdown([row(*ALL), row()]).splitlines()}
    assert len(cells) == 1

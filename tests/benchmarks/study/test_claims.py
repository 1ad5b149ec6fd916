"""The studies of what the project claims: regret, shifts, and bounds on the agreement."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.study import regret, shift
from benchmarks.study.cells import Cell
from benchmarks.study.certificates import accepted, hold_against_truth
from benchmarks.study.running import Context
from benchmarks.study.streams import Item
from flink_job.evaluation import Reference
from operators.records import Decision, Reason
from tests.operators.fakes import event


def decision(number: int, label: str, reason: Reason, small: str | None = None) -> Decision:
    return Decision(
        id=event(number, "-").id, key="k", task="t", time=None, label=label, probabilities=(),
        level="linear", release="r", reason=reason, propensity=0.1, degraded=False,
        small_label=small,
    )  # fmt: skip


def test_lengths_double_up_to_the_whole_stream() -> None:
    assert regret.lengths(2000) == [250, 500, 1000, 2000]
    assert regret.lengths(200) == []


@pytest.mark.parametrize("exponent", [-1.0, -0.5, 0.0])
def test_a_slope_is_the_exponent_of_a_power_law(exponent: float) -> None:
    points = [(t, 3 * t**exponent) for t in (100, 200, 800)]
    assert regret.slope(points) == pytest.approx(exponent)
    assert regret.slope([*points, (50, -1.0)]) == pytest.approx(exponent)
    assert np.isnan(regret.slope([(50, -1.0), (100, 1.0)]))


def test_a_learned_policy_is_judged_and_its_regret_falls(tmp_path: Path) -> None:
    context = Context({"posts-0": shift.posts(tmp_path, 0)}, [], tmp_path)
    cell = Cell("posts-0", "all", "source", "linear", "budgeted", 0.2, 0)
    short, long = (regret.run(cell, context, events) for events in (200, 1600))
    assert 0 < long.to_own_end < short.to_own_end < 1
    assert long.to_own_end <= long.to_hindsight + 0.05
    told = list(regret.rows([short, long]))
    assert len(told) == 5
    regret.draw([short, long], tmp_path / "regret.png")
    assert (tmp_path / "regret.png").stat().st_size > 0


def test_recovery_counts_from_the_shift(tmp_path: Path) -> None:
    context = Context({"posts-0": shift.posts(tmp_path, 0)}, [], tmp_path)
    cell = Cell("posts-0", "all", "source", "linear", "budgeted", 0.4, 0)
    events = shift.recovery(cell, context)
    assert events is None or events % 200 == 0


def test_what_could_be_audited_is_told_in_the_order_of_the_stream() -> None:
    stream = [Item(event(n, "-"), Reference(f"e{n}", "yes", "yes")) for n in range(4)]
    made = [
        decision(3, "no", Reason.ACCEPTED),
        decision(0, "yes", Reason.AUDIT, small="no"),
        decision(1, "yes", Reason.POLICY),
        decision(2, "yes", Reason.ACCEPTED),
    ]
    assert list(accepted(made, stream)) == [
        (0.1, True, False),
        (0.1, False, True),
        (0.1, False, False),
    ]


def test_bounds_hold_for_an_honest_coin_and_fail_for_a_crooked_one() -> None:
    dice = np.random.default_rng(0)

    def stream(of_wrong: float) -> Iterator[tuple[float, bool, bool]]:
        right = dice.random(4000) > 0.2
        said = dice.choice([0.05, 0.2], 4000)
        found = dice.random(4000) < said * np.where(right, 1, of_wrong)
        return zip(said.tolist(), found.tolist(), right.tolist(), strict=True)

    failed, windows, bad = hold_against_truth(stream(1), 0.05)
    assert (failed, bad) == (frozenset(), 0)
    assert windows >= 5
    assert "lower" in hold_against_truth(stream(0.2), 0.05)[0]  # looks away

"""Seeded coins: uniform, and a function of seed, purpose and id alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from operators.coins import coins

_IDS = [f"event-{number}" for number in range(20_000)]


def test_uniform() -> None:
    drawn = coins(7, "audit", _IDS)
    assert drawn.dtype == np.float64
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.histogram(drawn, bins=100, range=(0, 1))[0]
    expected = len(_IDS) / 100
    assert 40 < ((counts - expected) ** 2 / expected).sum() < 180  # 99 degrees of freedom


def test_seeds_purposes_and_ids_draw_independently() -> None:
    draws = [
        coins(0, "audit", _IDS),
        coins(1, "audit", _IDS),
        coins(0, "tie", _IDS),
        coins(0, "jump/0", _IDS),
        coins(0, "jump/1", _IDS),
        np.roll(coins(0, "audit", _IDS), 1),
    ]
    correlation = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlation).max() < 0.04  # five standard deviations are 0.035


@given(ids=st.lists(st.text(), max_size=8), data=st.data())
def test_a_coin_does_not_depend_on_the_batch(ids: list[str], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(ids))))
    together = coins(3, "audit", [ids[i] for i in order])
    assert together.tolist() == [coins(3, "audit", [ids[i]])[0] for i in order]
    assert len(set(together.tolist())) == len(set(ids))


def test_draws_are_the_same_in_every_release_of_the_software() -> None:
    # A replay after an upgrade must take the same turns: these numbers never change.
    assert coins(0, "audit", ["e1", "", "é"]).tolist() == PINNED


PINNED = [0.40909431314366973, 0.6440760995144066, 0.537600049385873]

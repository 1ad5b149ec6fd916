"""The dense numbering of features, against a dictionary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.levels.slots import Slots, grown

_SIZE = 64
_DISTINCT = st.lists(st.integers(0, _SIZE - 1), unique=True, max_size=12)


@given(batches=st.lists(st.tuples(st.booleans(), _DISTINCT), max_size=12))
def test_slots_are_those_of_a_dictionary(batches: list[tuple[bool, list[int]]]) -> None:
    slots, known = Slots(_SIZE), {}
    for learned, batch in batches:
        features = np.array(batch, np.int64)
        if learned:
            for feature in batch:
                known.setdefault(feature, len(known) + 1)
        found = slots.assign(features) if learned else slots.find(features)
        assert found.tolist() == [known.get(feature, 0) for feature in batch]
        assert slots.features.tolist() == list(known)
        assert slots.end == len(known) + 1


def test_more_features_than_there_was_room_for() -> None:
    slots = Slots(1 << 14)
    every = np.random.default_rng(0).permutation(1 << 14)
    assert slots.assign(every).tolist() == list(range(1, (1 << 14) + 1))
    assert slots.features.tolist() == every.tolist()


@pytest.mark.parametrize("rows", [0, 3, 4, 9])
def test_a_table_grows_and_keeps_what_it_holds(rows: int) -> None:
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    bigger = grown(table, rows)
    assert len(bigger) >= max(rows, 3)
    assert np.array_equal(bigger[:3], table)
    assert not bigger[3:].any()
    assert bigger.dtype == table.dtype

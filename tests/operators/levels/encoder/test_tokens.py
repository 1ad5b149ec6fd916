"""Tokens: bounds on what a text can cost, and batches that hold every row once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.levels.encoder.tokens import Tokens, micro_batches, padded
from tests.operators.levels.checks import HOSTILE
from tests.operators.levels.encoder import tiny

_ROWS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=12), min_size=1, max_size=30)


@pytest.fixture(scope="module")
def tokens(model: Path) -> Tokens:
    return Tokens(model / "tokenizer.json", tiny.MAX_TOKENS)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_any_text_has_between_two_and_the_most_tokens(text: str, tokens: Tokens) -> None:
    (ids,) = tokens([text])
    assert 2 <= len(ids) <= tiny.MAX_TOKENS
    assert (ids[0], ids[-1]) == (2, 3)  # the marks survive the cut


@pytest.mark.parametrize("longer", [40, 100, 100_000])
def test_a_long_text_keeps_its_ends(longer: int, tokens: Tokens) -> None:
    beginning, end = "good bad good", "awful great"
    first, last, long = tokens([beginning, end, f"{beginning} {'bad ' * longer}{end}"])
    assert len(long) == tiny.MAX_TOKENS
    assert long[: len(first) - 1] == first[:-1]
    assert long[1 - len(last) :] == last[1:]
    assert len(long) // 4 >= len(first) - 1


@given(rows=_ROWS, size=st.integers(1, 9))
def test_batches_hold_every_row_once_in_order_of_length(rows: list[list[int]], size: int) -> None:
    batches = list(micro_batches(rows, size))
    order = [row for batch in batches for row in batch]
    assert sorted(order) == list(range(len(rows)))
    assert [len(rows[row]) for row in order] == sorted(map(len, rows))
    assert all(0 < len(batch) <= size for batch in batches)


@given(rows=_ROWS, pad=st.integers(0, 9))
def test_padding_is_masked_and_no_longer_than_needed(rows: list[list[int]], pad: int) -> None:
    ids, mask = padded(rows, pad)
    assert ids.shape == mask.shape == (len(rows), max(map(len, rows)))
    for row, (line, counted) in enumerate(zip(ids, mask, strict=True)):
        assert line[counted == 1].tolist() == rows[row]
        assert (line[counted == 0] == pad).all()
        assert (np.diff(counted) <= 0).all()

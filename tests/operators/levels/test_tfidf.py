"""Tf-idf by the formula, written out for single numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.levels.features import Counts, NgramHasher
from operators.levels.tfidf import tfidf
from operators.settings import FeatureSettings


def counts_of(rows: list[dict[int, int]]) -> Counts:
    return Counts(
        np.cumsum([0, *map(len, rows)]).astype(np.int64),
        np.array([feature for row in rows for feature in row], np.int64),
        np.array([count for row in rows for count in row.values()], np.float32),
    )


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.dictionaries(st.integers(0, 9), st.integers(1, 50), max_size=6), max_size=5),
    frequency=st.lists(st.integers(0, 40), min_size=10, max_size=10),
)
def test_formula(rows: list[dict[int, int]], frequency: list[int]) -> None:
    documents = 40
    values = tfidf(counts_of(rows), np.array(frequency, np.float32), documents)
    assert values.dtype == np.float32
    at = 0
    for row in rows:
        plain = [
            (1 + math.log(count)) * (1 + math.log((1 + documents) / (1 + frequency[feature])))
            for feature, count in row.items()
        ]
        length = math.hypot(*plain)
        assert values[at : at + len(row)] == pytest.approx([v / length for v in plain], rel=1e-5)
        at += len(row)


def test_a_text_has_length_one_and_rare_words_weigh_more() -> None:
    counts = NgramHasher(FeatureSettings(bits=12, words=1, characters=None))(["rare common"])
    frequency = np.zeros(1 << 12, np.float32)
    common = NgramHasher(FeatureSettings(bits=12, words=1, characters=None))(["common"]).indices[0]
    frequency[common] = 99
    values = tfidf(counts, frequency, 100)
    assert float(np.square(values).sum()) == pytest.approx(1)
    weight = dict(zip(counts.indices.tolist(), values.tolist(), strict=True))
    assert weight[int(common)] == min(weight.values()) < max(weight.values())

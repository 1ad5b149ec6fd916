"""The array code that hashes n-grams, against plain string dictionaries."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.levels import features
from operators.levels.features import Counts, NgramHasher, RememberingHasher
from operators.settings import FeatureSettings

_WORD = 1 << 64
_WORDS_2 = FeatureSettings(bits=24, words=2, characters=None)
_TEXT = st.text(st.sampled_from("ab c.É東!\n\u0301😀") | st.characters(), max_size=40)


def mix(value: int) -> int:
    value ^= value >> 33
    value = value * 0xFF51AFD7ED558CCD % _WORD
    value ^= value >> 33
    return value * 0xC4CEB9FE1A85EC53 % _WORD


def run_hash(run: str) -> int:
    """The polynomial of a run of characters."""
    return sum((ord(c) + 1) * pow(features._BASE, i, _WORD) for i, c in enumerate(run)) % _WORD


def word_feature(gram: tuple[str, ...], bits: int) -> int:
    total = 0x51 + len(gram)
    for word, multiplier in zip(gram, features._MULTIPLIERS, strict=False):
        total += run_hash(word) * int(multiplier)
    return mix(total % _WORD) >> (64 - bits)


def naive(text: str, chosen: FeatureSettings) -> Counter[int]:
    """Count n-grams one at a time, as strings, and only then number them."""
    text = text[: chosen.max_chars].lower()
    words = re.findall(r"\w+|[^\w\s]", text)
    found: Counter[int] = Counter()
    for n in range(1, chosen.words + 1):
        grams = Counter(tuple(words[i : i + n]) for i in range(len(words) + 1 - n))
        for gram, count in grams.items():
            found[word_feature(gram, chosen.bits)] += count
    if chosen.characters:
        padded = f" {text} "
        low, high = chosen.characters
        for n in range(low, high + 1):
            runs = Counter(padded[i : i + n] for i in range(len(padded) + 1 - n))
            for run, count in runs.items():
                total = (0xA7 + n + run_hash(run)) % _WORD
                found[mix(total) >> (64 - chosen.bits)] += count
    return found


def row(counts: Counts, number: int) -> dict[int, float]:
    span = slice(counts.indptr[number], counts.indptr[number + 1])
    return dict(zip(counts.indices[span].tolist(), counts.counts[span].tolist(), strict=True))


@settings(max_examples=100, deadline=None)
@given(
    texts=st.lists(_TEXT, max_size=6),
    words=st.integers(1, 4),
    characters=st.none() | st.tuples(st.integers(1, 3), st.integers(3, 5)),
    bits=st.sampled_from([8, 20]),
    max_chars=st.sampled_from([16, 20_000]),
)
def test_counts_are_those_of_a_dictionary(
    texts: list[str], words: int, characters: tuple[int, int] | None, bits: int, max_chars: int
) -> None:
    chosen = FeatureSettings(words=words, characters=characters, bits=bits, max_chars=max_chars)
    counts = NgramHasher(chosen)(texts)
    assert len(counts.indptr) == len(texts) + 1
    assert counts.indptr[-1] == len(counts.indices) == len(counts.counts)
    for number, text in enumerate(texts):
        assert row(counts, number) == naive(text, chosen)
        span = counts.indices[counts.indptr[number] : counts.indptr[number + 1]]
        assert (np.diff(span) > 0).all()
    assert counts.rows.tolist() == [
        number for number in range(len(texts)) for _ in row(counts, number)
    ]


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(_TEXT, min_size=1, max_size=6), data=st.data())
def test_a_row_does_not_depend_on_the_batch(texts: list[str], data: st.DataObject) -> None:
    hasher = NgramHasher(FeatureSettings(bits=16))
    order = data.draw(st.permutations(range(len(texts))))
    together = hasher([texts[i] for i in order])
    for place, i in enumerate(order):
        assert row(together, place) == row(hasher([texts[i]]), 0)


def test_a_batch_too_long_to_be_hashed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a b c", "", "d " * 20, "e", "a b c"]
    hasher = NgramHasher(FeatureSettings(bits=16))
    whole = hasher(texts)
    monkeypatch.setattr(features, "_AT_ONCE", 8)
    cut = hasher(texts)
    assert cut.indptr.tolist() == whole.indptr.tolist()
    assert cut.indices.tolist() == whole.indices.tolist()
    assert cut.counts.tolist() == whole.counts.tolist()


def test_every_kind_of_character_is_told_apart_as_a_pattern_does() -> None:
    for point in range(0, 0x110000, 7):
        features._kinds_of(np.array([point], np.uint32))
    met = np.flatnonzero(features._kinds)
    text = [chr(point) for point in met]
    assert [bool(re.match(r"\w", c)) for c in text] == (features._kinds[met] == 1).tolist()
    assert [bool(re.match(r"\s", c)) for c in text] == (features._kinds[met] == 2).tolist()


@pytest.mark.parametrize("chosen", [_WORDS_2, FeatureSettings(bits=24, words=1)])
def test_no_ngram_crosses_a_document_boundary(chosen: FeatureSettings) -> None:
    hasher = NgramHasher(chosen)
    apart, joined = hasher(["alpha", "beta"]), hasher(["alpha beta"])
    crossing = set(row(joined, 0)) - set(row(apart, 0)) - set(row(apart, 1))
    assert crossing
    assert set(apart.indices.tolist()).isdisjoint(crossing)
    # The last word of one text and the first of the next are no bigram, whatever stands between.
    gaps = hasher(["alpha", "", "beta"])
    assert row(gaps, 0) == row(apart, 0)
    assert row(gaps, 2) == row(apart, 1)


def test_words_of_a_known_text() -> None:
    hasher = NgramHasher(_WORDS_2)
    counts = row(hasher(["The cat. the CAT."]), 0)
    # the x2, cat x2, . x2, "the cat" x2, "cat ." x2, ". the" x1
    assert sorted(counts.values()) == [1, 2, 2, 2, 2, 2]
    assert row(hasher(["the cat"]), 0).keys() < counts.keys()


def test_families_and_orders_have_features_of_their_own() -> None:
    words = NgramHasher(FeatureSettings(bits=24, words=1, characters=None))(["a"])
    both = NgramHasher(FeatureSettings(bits=24, words=1, characters=(1, 1)))(["a"])
    assert len(both.indices) == len(words.indices) + 2  # "a" and the space around it
    swapped = NgramHasher(_WORDS_2)(["a b", "b a"])
    assert len(set(row(swapped, 0)) ^ set(row(swapped, 1))) == 2


def test_text_beyond_max_chars_is_not_read() -> None:
    hasher = NgramHasher(FeatureSettings(bits=16, max_chars=16))
    start = "sixteen letters!"
    assert len(start) == 16
    assert row(hasher([start + " and an attack"]), 0) == row(hasher([start]), 0)
    assert row(hasher([start[:-1] + "?"]), 0) != row(hasher([start]), 0)


def test_empty_texts_have_no_words() -> None:
    counts = NgramHasher(_WORDS_2)(["", " \n", ""])
    assert counts.indptr.tolist() == [0, 0, 0, 0]
    assert NgramHasher(_WORDS_2)([]).indptr.tolist() == [0]


def test_features_fill_the_table_evenly() -> None:
    hasher = NgramHasher(FeatureSettings(bits=8, words=1, characters=None))
    counts = hasher([f"w{i}" for i in range(256 * 20)])
    load = np.bincount(counts.indices, minlength=256)
    expected = 20.0
    chi_square = float(((load - expected) ** 2 / expected).sum())
    assert 150 < chi_square < 380  # 255 degrees of freedom, five standard deviations either side


@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(st.lists(st.sampled_from(["", "a", "a b", "b c a"]) | _TEXT, max_size=6)),
    capacity=st.integers(0, 4),
)
def test_what_is_remembered_is_what_would_be_hashed(
    batches: list[list[str]], capacity: int
) -> None:
    chosen = FeatureSettings(bits=16)
    remembering, plain = RememberingHasher(chosen, capacity), NgramHasher(chosen)
    for batch in batches:
        got, wanted = remembering(batch), plain(batch)
        assert got.indptr.tolist() == wanted.indptr.tolist()
        assert got.indices.tolist() == wanted.indices.tolist()
        assert got.counts.tolist() == wanted.counts.tolist()
        assert (got.indices.dtype, got.counts.dtype) == (wanted.indices.dtype, wanted.counts.dtype)

"""Hashed word and character n-grams: text to sparse counts, with no vocabulary to look ahead in.

A batch is cut into words and hashed by a few array operations, with no loop over its words. The
hash of a run of characters is a polynomial of their code points modulo 2 ** 64: one running sum
over the batch gives that of any word and any character n-gram as a difference. Word n-grams
combine the hashes of their words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from operators.settings import FeatureSettings

_MULTIPLIERS = np.array(  # odd 64-bit constants: one for each position of an n-gram of words
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93],
    dtype=np.uint64,
)
_WORDS, _CHARACTERS = np.uint64(0x51), np.uint64(0xA7)  # keep the two families apart
_BASE = 0xA0761D6478BD642F  # of the polynomials; odd, so that it has an inverse
_AT_ONCE = 1 << 16  # characters hashed together: what is added up stays in the processor's cache
_UNKNOWN, _WORD, _SPACE, _SYMBOL = range(4)
_kinds = np.zeros(0x110000, np.uint8)  # which of these a code point is, once it was met

IntArray = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Counts:
    """Sparse n-gram counts of a batch of texts, row by row, features ascending within a row.

    Parameters
    ----------
    indptr
        Shape (texts + 1,): row r spans ``indptr[r]:indptr[r + 1]``.
    indices
        Shape (entries,): feature numbers in [0, 2 ** bits), unique within a row.
    counts
        Shape (entries,), float32: how often the feature stands in the text.
    """

    indptr: IntArray
    indices: npt.NDArray[Any]
    counts: npt.NDArray[np.float32]

    @property
    def rows(self) -> IntArray:
        """Shape (entries,): the row of each entry."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))

    @classmethod
    def of_rows(cls, rows: Sequence[tuple[npt.NDArray[Any], npt.NDArray[np.float32]]]) -> Counts:
        """Put the indices and counts of single texts below each other."""
        if not rows:
            return cls(np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        return cls(
            np.cumsum([0, *(len(indices) for indices, _ in rows)]),
            np.concatenate([indices for indices, _ in rows]),
            np.concatenate([counts for _, counts in rows]),
        )

    def row(self, number: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        """Indices and counts of one text, views."""
        span = slice(self.indptr[number], self.indptr[number + 1])
        return self.indices[span], self.counts[span]


@cache
def _powers(base: int, bits: int) -> Hashes:
    """The powers 0 to 2 ** bits of the base, modulo 2 ** 64."""
    powers = np.full((1 << bits) + 1, base, np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


def _mix(hashes: Hashes) -> Hashes:
    """Finalizer of MurmurHash3, in place: spreads every input bit over the word."""
    hashes ^= hashes >> np.uint64(33)
    hashes *= np.uint64(0xFF51AFD7ED558CCD)
    hashes ^= hashes >> np.uint64(33)
    hashes *= np.uint64(0xC4CEB9FE1A85EC53)
    return hashes


class _Runs:
    """The hashes of runs of characters, wherever in the batch they stand."""

    def __init__(self, points: npt.NDArray[np.uint32]) -> None:
        bits = max(_AT_ONCE.bit_length(), len(points).bit_length())
        self._shift = _powers(pow(_BASE, -1, 1 << 64), bits)
        # One more than the code point: a run of U+0000 is not an empty one.
        terms = points + np.uint64(1)
        terms *= _powers(_BASE, bits)[: len(points)]
        self._sums = np.zeros(len(points) + 1, np.uint64)
        np.cumsum(terms, out=self._sums[1:])

    def between(self, starts: IntArray, ends: IntArray) -> Hashes:
        """Hash ``points[start:end]`` of each pair."""
        hashes: Hashes = (self._sums[ends] - self._sums[starts]) * self._shift[starts]
        return hashes

    def all_of(self, length: int) -> Hashes:
        """Hash every run of a length, in order of where it starts."""
        hashes = self._sums[length:] - self._sums[: max(0, len(self._sums) - length)]
        hashes *= self._shift[: len(hashes)]
        return hashes


def _kinds_of(points: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """Tell words, white space and symbols apart, as regular expressions do."""
    kinds = _kinds[points]
    if not kinds.all():
        for point in np.unique(points[kinds == _UNKNOWN]).tolist():
            one = chr(point)
            word = one.isalnum() or one == "_"
            _kinds[point] = _WORD if word else _SPACE if one.isspace() else _SYMBOL
        kinds = _kinds[points]
    return kinds


def _words_in(points: npt.NDArray[np.uint32]) -> tuple[IntArray, IntArray]:
    """Starts and ends of the words and of the symbols, each a word of its own.

    Parameters
    ----------
    points
        With white space at either end.
    """
    kinds = _kinds_of(points)
    symbol, word = kinds == _SYMBOL, kinds == _WORD
    starts, ends = symbol.copy(), symbol
    starts[1:] |= word[1:] & ~word[:-1]
    ends[:-1] |= word[:-1] & ~word[1:]
    return np.flatnonzero(starts), np.flatnonzero(ends) + 1


class Hasher(Protocol):
    """Turns texts into counts of features numbered below its size."""

    size: int

    def __call__(self, texts: Sequence[str]) -> Counts:
        """Hash a batch of texts."""


class NgramHasher:
    """Turns texts into `Counts`; stateless, so that it needs no place in a release."""

    def __init__(self, settings: FeatureSettings) -> None:
        self._settings = settings
        self.size = 1 << settings.bits

    def __call__(self, texts: Sequence[str]) -> Counts:
        """Hash a batch of texts, each cut to ``max_chars`` characters."""
        # White space around a text keeps words apart, and marks its ends for the characters.
        padded = [f" {text[: self._settings.max_chars].lower()} " for text in texts]
        parts = [self._hash(part) for part in _portions(padded)]
        if len(parts) == 1:
            return parts[0]
        return Counts.of_rows([part.row(n) for part in parts for n in range(len(part.indptr) - 1)])

    def _hash(self, padded: Sequence[str]) -> Counts:
        encoded = "".join(padded).encode("utf-32-le", "surrogatepass")
        points = np.frombuffer(encoded, np.uint32)
        lengths = [len(text) for text in padded]
        text_ends = np.cumsum(lengths)
        runs = _Runs(points)
        grams = _word_ngrams(points, runs, text_ends, self._settings.words)
        if self._settings.characters:
            low, high = self._settings.characters
            owner = np.repeat(np.arange(len(padded)), lengths)
            grams += [_character_ngrams(runs, owner, n) for n in range(low, high + 1)]
        hashes = _mix(np.concatenate([hashes for hashes, _ in grams]))
        return self._count(hashes, np.concatenate([owner for _, owner in grams]), len(padded))

    def _count(self, hashes: Hashes, owners: IntArray, texts: int) -> Counts:
        bits = self._settings.bits
        entries = (hashes >> np.uint64(64 - bits)).astype(np.int64)
        entries |= owners << bits
        entries.sort()
        first = np.ones(len(entries) + 1, np.bool_)  # of its kind, and one behind the end
        np.not_equal(entries[1:], entries[:-1], out=first[1:-1])
        places = np.flatnonzero(first)
        kinds = entries[places[:-1]]
        return Counts(
            np.searchsorted(kinds, np.arange(texts + 1) << bits),
            kinds & (self.size - 1),
            (places[1:] - places[:-1]).astype(np.float32),
        )


def _word_ngrams(
    points: npt.NDArray[np.uint32], runs: _Runs, text_ends: IntArray, longest: int
) -> list[tuple[Hashes, IntArray]]:
    """Hashes, yet to be mixed, and texts of all n-grams of words that lie within one text."""
    starts, ends = _words_in(points)
    words = runs.between(starts, ends)
    owner = np.searchsorted(text_ends, starts, side="right")
    grams = []
    for n in range(1, longest + 1):
        size = max(0, len(words) - n + 1)
        total = words[:size] * _MULTIPLIERS[0]
        for position in range(1, n):
            total += words[position : position + size] * _MULTIPLIERS[position]
        total += _WORDS + np.uint64(n)
        inside = owner[:size] == owner[n - 1 :]
        grams.append((total[inside], owner[:size][inside]))
    return grams


def _character_ngrams(runs: _Runs, owner: IntArray, n: int) -> tuple[Hashes, IntArray]:
    """Hashes, yet to be mixed, and texts of all n-grams of characters within one text."""
    hashes = runs.all_of(n)
    hashes += _CHARACTERS + np.uint64(n)
    inside = owner[: len(hashes)] == owner[n - 1 :]
    return hashes[inside], owner[: len(hashes)][inside]


def _portions(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut a batch where it is too long to be hashed at once; one portion of nothing for nothing."""
    start, length = 0, 0
    for place, text in enumerate(texts):
        if length and length + len(text) > _AT_ONCE:
            yield texts[start:place]
            start, length = place, 0
        length += len(text)
    yield texts[start:]


class RememberingHasher:
    """An `NgramHasher` that keeps the counts of its latest texts, for those who ask again.

    Parameters
    ----------
    capacity
        Texts whose counts are kept.
    """

    def __init__(self, settings: FeatureSettings, capacity: int = 1024) -> None:
        self._hasher = NgramHasher(settings)
        self._capacity = capacity
        self._rows: dict[str, tuple[IntArray, npt.NDArray[np.float32]]] = {}
        self.size = self._hasher.size

    def __call__(self, texts: Sequence[str]) -> Counts:
        """Hash a batch of texts; the counts are those of `NgramHasher`."""
        unknown = list(dict.fromkeys(text for text in texts if text not in self._rows))
        if unknown:
            fresh = self._hasher(unknown)
            for number, text in enumerate(unknown):
                indices, values = fresh.row(number)
                self._rows[text] = indices.copy(), values.copy()
            if len(unknown) == len(texts):
                self._forget()
                return fresh
        counts = Counts.of_rows([self._rows[text] for text in texts])
        self._forget()
        return counts

    def _forget(self) -> None:
        while len(self._rows) > self._capacity:
            del self._rows[next(iter(self._rows))]

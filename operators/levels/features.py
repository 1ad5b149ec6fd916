"""Hashed word and character n-grams: text to sparse counts, with no vocabulary to look ahead in.

Words are hashed by MurmurHash3 (scikit-learn's); n-grams combine the hashes of their parts, so that
a whole batch is hashed by a few array operations instead of a string join for each n-gram.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.utils import murmurhash3_32

from operators.settings import FeatureSettings

_TOKEN = re.compile(r"\w+|[^\w\s]")
_TOKEN_CACHE = 1 << 18  # distinct words whose hashes are remembered; ~40 MB when full
_MULTIPLIERS = np.array(  # odd 64-bit constants: one for each position of an n-gram
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93,
     0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3, 0x589965CC75374CC3],
    dtype=np.uint64,
)  # fmt: skip
MAX_NGRAM = len(_MULTIPLIERS)
_WORDS, _CHARACTERS = np.uint64(0x51), np.uint64(0xA7)  # keep the two families apart

IntArray = npt.NDArray[np.int64]


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
    indices: IntArray
    counts: npt.NDArray[np.float32]

    @property
    def rows(self) -> IntArray:
        """Shape (entries,): the row of each entry."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))


class _TokenHashes(dict[str, int]):
    """Hash of each word met lately; a look-up costs no Python call but for a new word."""

    def __missing__(self, token: str) -> int:
        if len(self) >= _TOKEN_CACHE:
            self.clear()
        value = int(murmurhash3_32(token.encode("utf-8", "surrogatepass"), positive=True))
        self[token] = value
        return value


_token_hashes = _TokenHashes()


def _mix(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Finalizer of MurmurHash3: spreads every input bit over the word."""
    hashes = hashes ^ (hashes >> np.uint64(33))
    hashes = hashes * np.uint64(0xFF51AFD7ED558CCD)
    hashes = hashes ^ (hashes >> np.uint64(33))
    return hashes * np.uint64(0xC4CEB9FE1A85EC53)


def _ngrams(
    units: npt.NDArray[np.uint64], document: IntArray, low: int, high: int, family: np.uint64
) -> tuple[npt.NDArray[np.uint64], IntArray]:
    """Hashes and documents of all n-grams of low..high units that lie within one document."""
    hashes, documents = [], []
    for n in range(low, high + 1):
        size = len(units) - n + 1
        if size <= 0:
            break
        total = np.full(size, family + np.uint64(n), dtype=np.uint64)
        for position in range(n):
            total += (units[position : position + size] + np.uint64(1)) * _MULTIPLIERS[position]
        whole = document[:size] == document[n - 1 :]
        hashes.append(_mix(total[whole]))
        documents.append(document[:size][whole])
    if not hashes:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    return np.concatenate(hashes), np.concatenate(documents)


class NgramHasher:
    """Turns texts into `Counts`; stateless, so that it needs no place in a release."""

    def __init__(self, settings: FeatureSettings) -> None:
        self._settings = settings
        self.size = 1 << settings.bits

    def __call__(self, texts: Sequence[str]) -> Counts:
        """Hash a batch of texts, each cut to ``max_chars`` characters."""
        chosen = self._settings
        cut = [text[: chosen.max_chars].lower() for text in texts]
        tokens = [_TOKEN.findall(text) for text in cut]
        units = np.array([_token_hashes[t] for row in tokens for t in row], dtype=np.uint64)
        lengths = [len(row) for row in tokens]
        document = np.repeat(np.arange(len(texts), dtype=np.int64), lengths)
        hashes, documents = _ngrams(units, document, 1, chosen.words, _WORDS)
        if chosen.characters:
            padded = [f" {text} ".encode("utf-32-le", "surrogatepass") for text in cut]
            points = np.frombuffer(b"".join(padded), dtype=np.uint32).astype(np.uint64)
            document = np.repeat(
                np.arange(len(texts), dtype=np.int64), [len(text) // 4 for text in padded]
            )
            low, high = chosen.characters
            more, owners = _ngrams(points, document, low, high, _CHARACTERS)
            hashes = np.concatenate([hashes, more])
            documents = np.concatenate([documents, owners])
        return self._count(hashes, documents, len(texts))

    def _count(self, hashes: npt.NDArray[np.uint64], documents: IntArray, texts: int) -> Counts:
        bits = self._settings.bits
        features = (hashes >> np.uint64(64 - bits)).astype(np.int64)
        entries, counts = np.unique((documents << bits) | features, return_counts=True)
        indptr = np.searchsorted(entries >> bits, np.arange(texts + 1)).astype(np.int64)
        return Counts(indptr, entries & (self.size - 1), counts.astype(np.float32))


class RememberingHasher:
    """An `NgramHasher` that keeps the counts of its latest texts: replayed ones cost nothing.

    Parameters
    ----------
    capacity
        Texts whose counts are kept.
    """

    def __init__(self, settings: FeatureSettings, capacity: int) -> None:
        self._hasher = NgramHasher(settings)
        self._capacity = capacity
        self._rows: dict[str, tuple[IntArray, npt.NDArray[np.float32]]] = {}
        self.size = self._hasher.size

    def __call__(self, texts: Sequence[str]) -> Counts:
        """Hash a batch of texts; the counts are those of `NgramHasher`."""
        unknown = list(dict.fromkeys(text for text in texts if text not in self._rows))
        fresh = self._hasher(unknown)
        for row, text in enumerate(unknown):
            span = slice(fresh.indptr[row], fresh.indptr[row + 1])
            self._rows[text] = fresh.indices[span].copy(), fresh.counts[span].copy()
        rows = [self._rows[text] for text in texts]
        while len(self._rows) > self._capacity:
            del self._rows[next(iter(self._rows))]
        return Counts(
            np.cumsum([0, *(len(indices) for indices, _ in rows)]),
            np.concatenate([np.empty(0, np.int64), *(indices for indices, _ in rows)]),
            np.concatenate([np.empty(0, np.float32), *(counts for _, counts in rows)]),
        )

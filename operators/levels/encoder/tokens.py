"""Texts to token ids, and ids to micro-batches of about equal length, so that little is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

# Characters that are read for each token that may be: a bound on the work that one text can make.
_CHARACTERS_PER_TOKEN = 40
_BEGINNING = 4  # a quarter of the tokens

Ids = list[int]
IntArray = npt.NDArray[np.int64]


class Tokens:
    """The base model's own tokenizer.

    Parameters
    ----------
    file
        Its tokenizer.json.
    max_tokens
        Of each text, the marks at its ends included. A longer one loses its middle, the ends say
        more (Sun et al. 2019, "How to fine-tune BERT for text classification?", Section 5.3.1): a
        quarter of what is left is its beginning, the rest its end.
    """

    def __init__(self, file: Path, max_tokens: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._most = max_tokens
        self._characters = max_tokens * _CHARACTERS_PER_TOKEN

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of each text; never empty, since the marks are always there."""
        # One by one: the tokenizer's own threads would fight those of the other subtasks.
        return [self._ends(self._tokenizer.encode(self._readable(text)).ids) for text in texts]

    def _ends(self, ids: Ids) -> Ids:
        first = self._most // _BEGINNING
        return ids if len(ids) <= self._most else ids[:first] + ids[first - self._most :]

    def _readable(self, text: str) -> str:
        """Cut, and without lone surrogates, which are no Unicode text to the tokenizer."""
        if len(text) > 2 * self._characters:
            text = text[: self._characters] + text[-self._characters :]
        return text.encode("utf-8", "replace").decode("utf-8")


def micro_batches(rows: Sequence[Ids], size: int) -> Iterator[list[int]]:
    """Numbers of the rows that are evaluated together: neighbours in length, `size` at the most."""
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def padded(rows: Sequence[Ids], pad_id: int) -> tuple[IntArray, IntArray]:
    """Ids and mask of a batch, each of shape (rows, tokens of the longest)."""
    longest = max(map(len, rows))
    ids = np.full((len(rows), longest), pad_id, np.int64)
    mask = np.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return ids, mask

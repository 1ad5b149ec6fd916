"""A bounded, uniform sample of the annotations with their embeddings (reservoir sampling)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from operators.levels.port import Tensors

IntArray = npt.NDArray[np.intp]
_GROWTH = 2  # factor by which the table grows until it is full
_FIRST_ROWS = 64


@dataclass(frozen=True)
class Placed:
    """Where an example was put.

    Parameters
    ----------
    slot
        Its row in the memory, or None if the sample does without it.
    random
        For what is drawn for this example: a function of the seed and its number in the stream.
    """

    slot: int | None
    random: np.random.Generator


class Memory:
    """Examples to learn from again; each of the stream is in it with the same probability.

    Embeddings are kept in float16: a head learns the same from them, at half the state.

    Parameters
    ----------
    dimension
        Of an embedding.
    capacity
        Examples kept at the most.
    seed
        Of every draw.
    texts
        Keep the texts too, to embed them again under other weights.
    """

    def __init__(self, dimension: int, capacity: int, seed: int, *, texts: bool) -> None:
        self._dimension = dimension
        self._capacity = capacity
        self._seed = seed
        self._keep_texts = texts
        self.forget()

    def __len__(self) -> int:
        """Examples held now."""
        return self._held

    @property
    def seen(self) -> int:
        """Examples taken in so far."""
        return self._seen

    def forget(self) -> None:
        """Hold nothing, as if nothing had been seen."""
        self._embeddings = np.zeros((0, self._dimension), np.float16)
        self._labels = np.zeros(0, np.int32)
        self._texts: list[str] = []
        self._held = 0
        self._seen = 0

    def take_in(self, text: str, embedding: npt.NDArray[np.float32], label: int) -> Placed:
        """Take in the next example of the stream."""
        random = np.random.default_rng([self._seed, self._seen])
        self._seen += 1
        slot: int | None = self._held
        if self._held == self._capacity:
            drawn = int(random.integers(self._seen))
            slot = drawn if drawn < self._capacity else None
        if slot is not None:
            self._write(slot, text, embedding, label)
        return Placed(slot, random)

    def _write(self, slot: int, text: str, embedding: npt.NDArray[np.float32], label: int) -> None:
        if slot == self._held:
            self._make_room()
            self._held += 1
            if self._keep_texts:
                self._texts.append("")
        self._embeddings[slot] = embedding
        self._labels[slot] = label
        if self._keep_texts:
            self._texts[slot] = text

    def _make_room(self) -> None:
        if self._held < len(self._labels):
            return
        rows = min(self._capacity, max(_FIRST_ROWS, _GROWTH * self._held))
        embeddings = np.zeros((rows, self._dimension), np.float16)
        labels = np.zeros(rows, np.int32)
        embeddings[: self._held], labels[: self._held] = self._embeddings, self._labels
        self._embeddings, self._labels = embeddings, labels

    def embeddings(self, slots: IntArray) -> npt.NDArray[np.float32]:
        """Embeddings of these examples, shape (slots, dimension)."""
        return self._embeddings[slots].astype(np.float32)

    def labels(self, slots: IntArray) -> IntArray:
        """Labels of these examples."""
        return self._labels[slots].astype(np.intp)

    def texts(self, slots: IntArray) -> list[str]:
        """Texts of these examples, if they are kept."""
        return [self._texts[slot] for slot in slots]

    def refresh(self, slots: IntArray, embeddings: npt.NDArray[np.float32]) -> None:
        """Replace embeddings by those under the weights of now."""
        self._embeddings[slots] = embeddings

    def evenly(self, count: int, random: np.random.Generator) -> IntArray:
        """Draw examples, each label as often as the others, with replacement."""
        held = self._labels[: self._held]
        present, counts = np.unique(held, return_counts=True)
        weight = 1 / counts[np.searchsorted(present, held)]
        return random.choice(self._held, size=count, p=weight / weight.sum())

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Everything held, the seed, and how much was seen: draws depend on nothing else."""
        state: dict[str, npt.NDArray[Any]] = {
            "embeddings": self._embeddings[: self._held].copy(),
            "labels": self._labels[: self._held].copy(),
            # as text: a seed may be any size
            "draws": np.frombuffer(f"{self._seed} {self._seen}".encode(), np.uint8),
        }
        if self._keep_texts:
            state["texts"] = np.frombuffer(msgspec.msgpack.encode(self._texts), np.uint8)
        return state

    def restore(self, snapshot: Tensors) -> None:
        """Become the memory that `snapshot` describes."""
        self._embeddings = np.array(snapshot["embeddings"])
        self._labels = np.array(snapshot["labels"])
        self._held = len(self._labels)
        self._seed, self._seen = map(int, snapshot["draws"].tobytes().split())
        if self._keep_texts:
            self._texts = msgspec.msgpack.decode(snapshot["texts"].tobytes(), type=list[str])

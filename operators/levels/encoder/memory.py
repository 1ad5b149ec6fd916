"""A bounded sample of the annotations with their embeddings, in which rare labels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from operators.levels.port import Tensors

IntArray = npt.NDArray[np.intp]
_GROWTH = 2  # factor by which the table grows until it is full
_FIRST_ROWS = 64


class Memory:
    """Examples to learn from again.

    Once it is full, room is made at the expense of the label that has most of it, so a label that
    is rare or was last seen long ago keeps its examples; among those of one label, each of the
    stream is held with the same probability (class-balancing reservoir sampling: Chrysakis and
    Moens, ICML 2020). How often each label was seen is counted, so that draws can follow the
    stream all the same.

    Embeddings are kept in float16: a head learns the same from them, at half the state.

    Parameters
    ----------
    dimension
        Of an embedding.
    labels
        Number of labels.
    capacity
        Examples kept at the most.
    seed
        Of every draw.
    texts
        Keep the texts too, to embed them again under other weights.
    """

    def __init__(
        self, dimension: int, labels: int, capacity: int, seed: int, *, texts: bool
    ) -> None:
        self._dimension = dimension
        self._capacity = capacity
        self._seed = seed
        self._keep_texts = texts
        self._seen_of = np.zeros(labels, np.int64)
        self.forget()

    def __len__(self) -> int:
        """Examples held now."""
        return self._held

    @property
    def seen(self) -> int:
        """Examples taken in so far."""
        return int(self._seen_of.sum())

    def forget(self) -> None:
        """Hold nothing, as if nothing had been seen."""
        self._embeddings = np.zeros((0, self._dimension), np.float16)
        self._labels = np.zeros(0, np.int32)
        self._texts: list[str] = []
        self._held = 0
        self._seen_of = np.zeros_like(self._seen_of)
        self._by_label: IntArray | None = None

    def take_in(self, text: str, embedding: npt.NDArray[np.float32], label: int) -> None:
        """Take in the next example of the stream."""
        slot = self._slot_for(label, self.random())
        self._seen_of[label] += 1
        if slot is not None:
            self._write(slot, text, embedding, label)

    def random(self, purpose: int = 0) -> np.random.Generator:
        """Draws that depend on the seed, the number of examples seen and the purpose alone."""
        return np.random.default_rng([self._seed, self.seen, purpose])

    def _slot_for(self, label: int, random: np.random.Generator) -> int | None:
        if self._held < self._capacity:
            return self._held
        held_of = self._held_of()
        complete = held_of[label] == self._seen_of[label]
        if complete and held_of[label] < held_of.max():
            return int(random.choice(self._slots_of(int(held_of.argmax()))))
        if random.integers(self._seen_of[label] + 1) < held_of[label]:
            return int(random.choice(self._slots_of(label)))
        return None

    def _held_of(self) -> IntArray:
        return np.bincount(self._labels[: self._held], minlength=len(self._seen_of))

    def _slots_of(self, label: int) -> IntArray:
        return np.flatnonzero(self._labels[: self._held] == label)

    def _write(self, slot: int, text: str, embedding: npt.NDArray[np.float32], label: int) -> None:
        if slot == self._held:
            self._make_room()
            self._held += 1
            self._by_label = None
            if self._keep_texts:
                self._texts.append("")
        elif self._labels[slot] != label:
            self._by_label = None
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

    def refresh(
        self, slots: Sequence[int], texts: Sequence[str], embeddings: npt.NDArray[np.float32]
    ) -> None:
        """Replace embeddings by those under other weights, where these texts are still held."""
        for slot, text, embedding in zip(slots, texts, embeddings, strict=True):
            if self._texts[slot] == text:
                self._embeddings[slot] = embedding

    def weights(self) -> npt.NDArray[np.float64]:
        """How many examples of the stream each one held stands for, shape (held,)."""
        of_label = self._seen_of / np.maximum(self._held_of(), 1)
        return np.asarray(of_label[self._labels[: self._held]])

    def evenly(self, shape: tuple[int, ...], random: np.random.Generator) -> IntArray:
        """Draw examples, each label as often as the others, with replacement."""
        held_of = self._held_of()
        if self._by_label is None:
            self._by_label = np.argsort(self._labels[: self._held], kind="stable")
        labels = random.choice(np.flatnonzero(held_of), size=shape)
        nth = (random.random(shape) * held_of[labels]).astype(np.intp)
        first = np.cumsum(held_of) - held_of
        slots: IntArray = self._by_label[first[labels] + nth]
        return slots

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Everything held, the seed, and how much was seen: draws depend on nothing else."""
        state: dict[str, npt.NDArray[Any]] = {
            "embeddings": self._embeddings[: self._held].copy(),
            "labels": self._labels[: self._held].copy(),
            "seen": self._seen_of.copy(),
            "seed": np.frombuffer(str(self._seed).encode(), np.uint8),  # it may be any size
        }
        if self._keep_texts:
            state["texts"] = np.frombuffer(msgspec.msgpack.encode(self._texts), np.uint8)
        return state

    def restore(self, snapshot: Tensors) -> None:
        """Become the memory that `snapshot` describes."""
        self._embeddings = np.array(snapshot["embeddings"])
        self._labels = np.array(snapshot["labels"])
        self._held = len(self._labels)
        self._seen_of = np.array(snapshot["seen"])
        self._seed = int(snapshot["seed"].tobytes())
        self._by_label = None
        if self._keep_texts:
            self._texts = msgspec.msgpack.decode(snapshot["texts"].tobytes(), type=list[str])

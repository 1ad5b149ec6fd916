"""A bounded, uniform sample of all annotations so far, to learn from again (reservoir sampling)."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from operators.levels.port import Tensors


class ReplayBuffer:
    """Keeps each example with the same probability, however long the stream (Vitter's R).

    Parameters
    ----------
    capacity
        Examples kept at the most.
    seed
        Of the draws.
    """

    def __init__(self, capacity: int, seed: int) -> None:
        self._capacity = capacity
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._examples: list[tuple[str, int]] = []
        self._seen = 0

    def __len__(self) -> int:
        """Examples held now."""
        return len(self._examples)

    @property
    def texts(self) -> set[str]:
        """Texts of the examples held now."""
        return {text for text, _ in self._examples}

    def exchange(self, text: str, label: int, count: int) -> list[tuple[str, int]]:
        """Draw `count` earlier examples (fewer if fewer are held), then take in the new one."""
        held = len(self._examples)
        drawn = (
            [self._examples[i] for i in self._random.integers(held, size=min(count, held))]
            if held
            else []
        )
        self._seen += 1
        if held < self._capacity:
            self._examples.append((text, label))
        elif (slot := int(self._random.integers(self._seen))) < self._capacity:
            self._examples[slot] = (text, label)
        return drawn

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Examples, count and the state of the draws, as byte arrays."""
        return {
            "examples": np.frombuffer(msgspec.msgpack.encode(self._examples), np.uint8),
            "draws": np.frombuffer(
                msgspec.json.encode([self._seen, _as_text(self._random.bit_generator.state)]),
                np.uint8,
            ),
        }

    def restore(self, snapshot: Tensors) -> None:
        """Become the buffer that `snapshot` describes."""
        self._examples = msgspec.msgpack.decode(
            snapshot["examples"].tobytes(), type=list[tuple[str, int]]
        )
        seen, state = msgspec.json.decode(
            snapshot["draws"].tobytes(), type=tuple[int, dict[str, str]]
        )
        self._seen = seen
        self._random.bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {"state": int(state["state"]), "inc": int(state["inc"])},
            "has_uint32": int(state["has_uint32"]),
            "uinteger": int(state["uinteger"]),
        }


def _as_text(state: Any) -> dict[str, str]:
    """PCG64's 128-bit integers as decimal text, since JSON and MessagePack end at 64 bits."""
    return {
        "state": str(state["state"]["state"]),
        "inc": str(state["state"]["inc"]),
        "has_uint32": str(state["has_uint32"]),
        "uinteger": str(state["uinteger"]),
    }

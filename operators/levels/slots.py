"""Numbers features densely, in the order in which they were first learned."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from operators.levels.features import IntArray

T = TypeVar("T", bound=np.generic)
_FIRST_CAPACITY = 1 << 12


class Slots:
    """Gives each learned feature the next free row of a table.

    What is learned again then lies side by side, and most of what is learned was learned before:
    the features that only one text has in the order of its own, the common ones at the beginning.

    Parameters
    ----------
    size
        Feature numbers are below it.

    Attributes
    ----------
    end
        Slots from 1 to below it are taken. Slot 0 is that of all features not learned.
    """

    def __init__(self, size: int) -> None:
        self._slot = np.zeros(size, np.int32)
        self._feature = np.zeros(_FIRST_CAPACITY, np.int32)
        self.end = 1

    @property
    def features(self) -> npt.NDArray[np.int32]:
        """The feature of each slot from 1 on, a view."""
        return self._feature[1 : self.end]

    def find(self, features: npt.NDArray[np.integer[Any]]) -> IntArray:
        """Slots of features, 0 for those that have none."""
        # Looked up in half the memory, but returned as what numpy indexes with.
        return self._slot.take(features).astype(np.int64)

    def assign(self, features: npt.NDArray[np.integer[Any]]) -> IntArray:
        """Slots of distinct features; those that have none get one."""
        slots = self.find(features)
        missing = np.flatnonzero(slots == 0)
        end = self.end + len(missing)
        new = features[missing]
        slots[missing] = self._slot[new] = np.arange(self.end, end)
        self._feature = grown(self._feature, end)
        self._feature[self.end : end] = new
        self.end = end
        return slots


def grown(table: npt.NDArray[T], rows: int) -> npt.NDArray[T]:
    """A table with so many rows at least, the new ones 0; doubled, so that growth costs little."""
    if rows <= len(table):
        return table
    bigger = np.zeros((max(rows, 2 * len(table)), *table.shape[1:]), table.dtype)
    bigger[: len(table)] = table
    return bigger

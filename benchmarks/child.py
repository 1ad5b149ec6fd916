"""What is done in a process of its own, beside what is measured."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Self

SPAWN = multiprocessing.get_context("spawn")


class Child:
    """A process that ends with this context.

    Parameters
    ----------
    does, arguments
        What it calls.
    """

    def __init__(self, does: Callable[..., None], *arguments: object) -> None:
        self._process = SPAWN.Process(target=does, args=arguments, daemon=True)

    def __enter__(self) -> Self:
        """Start it."""
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    @property
    def done(self) -> bool:
        """Whether it has come to its end."""
        return not self._process.is_alive()

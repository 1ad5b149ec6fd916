"""What a small level offers: a serving half, fed by releases, and a learning half that makes them.

The halves meet only in named tensors, so that what is served is what was published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from model_store.errors import TensorMismatch

Tensors = Mapping[str, npt.NDArray[Any]]
Probabilities = npt.NDArray[np.float64]
"""Shape (events, labels); each row sums to 1."""


class Level(Protocol):
    """The serving half of a small level."""

    @property
    def name(self) -> str:
        """Name of the level; prefixes its tensors in a release."""

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on a GPU: what came of the settings, not what they asked for."""

    def stage(self, tensors: Tensors) -> object:
        """Check a release's tensors and prepare them, without touching what is served.

        Raises
        ------
        model_store.errors.TensorMismatch
            If a tensor is missing, or its shape or type does not fit this level.
        """

    def swap(self, staged: object) -> None:
        """Serve what `stage` returned from now on. Must not fail: it is called for all levels."""

    def predict(self, texts: Sequence[str]) -> Probabilities:
        """Label probabilities of each text; uniform before the first `swap`.

        A row depends on its own text alone, never on the others of the batch.
        """


class Learner(Protocol):
    """The learning half of a small level."""

    @property
    def name(self) -> str:
        """Name of the level that this teaches."""

    @property
    def updates(self) -> int:
        """Learning updates so far, in the unit of the learner (paper: cache flushes)."""

    def predict(self, texts: Sequence[str]) -> Probabilities:
        """Label probabilities under the weights of this moment."""

    def predict_again(self, texts: Sequence[str]) -> Probabilities:
        """As `predict`, of texts that are asked about time and again; the last bits may differ."""

    def learn(self, texts: Sequence[str], labels: Sequence[int]) -> None:
        """Imitate the expert on new examples, in order.

        Must not fail on a text that `predict` does not fail on.
        """

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Weights to publish: copies, keyed by tensor name without the level's prefix."""

    def adopt(self, tensors: Tensors) -> None:
        """Go on from published weights; what is not published (optimizer state) starts afresh."""

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Everything that learning depends on, as named arrays."""

    def restore(self, snapshot: Tensors) -> None:
        """Undo nothing, forget everything: become what `snapshot` described."""


@runtime_checkable
class SlowLearner(Protocol):
    """What a learner is that also learns in the background, in turns.

    Which lessons give it a turn is for the clock to say. The trainer notes them, and gives the
    same turns when it repeats the lessons: what is learned follows from the two.
    """

    @property
    def name(self) -> str:
        """Name of the level that this teaches."""

    def work_on(self, executor: Executor) -> None:
        """Have an executor, of one thread, do what is done in the background."""

    @property
    def due(self) -> bool:
        """Whether it could make use of a turn, and has the time for it now."""

    def turn(self) -> None:
        """Take over what was learned in the background, waiting for it, and begin anew."""


def prefixed(name: str, tensors: Tensors) -> dict[str, npt.NDArray[Any]]:
    """Put a level's name before its tensors' names."""
    return {f"{name}/{key}": value for key, value in tensors.items()}


def under(name: str, tensors: Tensors) -> dict[str, npt.NDArray[Any]]:
    """Pick a level's tensors out of a release, without the prefix."""
    start = f"{name}/"
    return {
        key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)
    }


def expect(
    tensors: Tensors, name: str, dtype: type[np.generic], shape: tuple[int | None, ...]
) -> npt.NDArray[Any]:
    """Pick a tensor, insisting on its type and shape (None: any length).

    Raises
    ------
    TensorMismatch
        If it is missing or another.
    """
    tensor = tensors.get(name)
    if tensor is None:
        raise TensorMismatch(name, "it is missing")
    fits = len(shape) == tensor.ndim and all(
        want in (None, have) for want, have in zip(shape, tensor.shape, strict=True)
    )
    if tensor.dtype != dtype or not fits:
        raise TensorMismatch(
            name,
            f"it is {tensor.dtype} of shape {tensor.shape}, not {dtype.__name__} of shape {shape}",
        )
    return tensor

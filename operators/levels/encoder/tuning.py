"""Gradient steps on an encoder's top layers, round by round, beside whatever else is learned.

A round is a few steps that are made together in the background. Its examples and its head are fixed
when it begins; what it makes of the layers counts from the next turn on. So weights depend on the
lessons and on which of them gave a turn, never on how long a step took.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from operators.inline import InlineExecutor
from operators.levels.encoder.head import FloatArray
from operators.levels.encoder.memory import IntArray
from operators.levels.port import Tensors, prefixed, under

LAYER = "layer"
"""Prefix of the layers among the tensors of a tuner's state; the rest is its optimizer."""


class Batch(msgspec.Struct, frozen=True):
    """The examples of one gradient step.

    Parameters
    ----------
    slots
        Where they are held in the memory.
    """

    slots: list[int]
    texts: list[str]
    labels: list[int]


@dataclass(frozen=True)
class Round:
    """What a round of steps made.

    Parameters
    ----------
    state
        Layers and optimizer after it; nobody writes into it any more.
    embeddings
        Of each batch, shape (texts, dimension), under layers of this round. None at all if the
        steps led to values that are not finite: then the state is the one before the round.
    seconds
        How long it took.
    """

    state: Tensors
    embeddings: Sequence[FloatArray]
    seconds: float


class LayerTuner(Protocol):
    """Fine-tunes an encoder's top layers; a function of what it is given."""

    def round(self, state: Tensors, batches: Sequence[Batch], head: Tensors) -> Round:
        """Take a step on each batch under this head.

        Parameters
        ----------
        state
            Layers under `LAYER` in the graph's layout; without an optimizer, it starts afresh.
        """


@dataclass(frozen=True)
class _UnderWay:
    batches: Sequence[Batch]
    head: Mapping[str, npt.NDArray[Any]]
    made: Future[Round]
    began_s: float


class Tuning:
    """The layers as they count now, and the round that is under way.

    Rounds are made in the foreground until `work_on` says otherwise.

    Parameters
    ----------
    layers
        Of the base model, in the graph's layout.
    time_share
        Part of the time that rounds may take, in (0, 1].
    monotonic
        The clock, in seconds.
    """

    def __init__(
        self,
        tuner: LayerTuner,
        layers: Tensors,
        time_share: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._tuner = tuner
        self._executor: Executor = InlineExecutor()
        self._time_share = time_share
        self._monotonic = monotonic
        self._state: Tensors = prefixed(LAYER, layers)
        self._under_way: _UnderWay | None = None

    def work_on(self, executor: Executor) -> None:
        """Have an executor make the rounds: of one thread, since they are made in order."""
        self._executor = executor

    @property
    def layers(self) -> dict[str, npt.NDArray[Any]]:
        """The layers as they count now, in the graph's layout: to be read, not written."""
        return under(LAYER, self._state)

    @property
    def rested(self) -> bool:
        """Whether the last round is done, and rounds have not had more than their share of time."""
        last = self._under_way
        if last is None:
            return True
        if not last.made.done():
            return False
        return self._monotonic() - last.began_s >= last.made.result().seconds / self._time_share

    def begin(self, batches: Sequence[Batch], head: Tensors) -> None:
        """Begin a round; the one before it was collected."""
        assert self._under_way is None
        began_s = self._monotonic()
        made = self._executor.submit(self._tuner.round, self._state, batches, head)
        self._under_way = _UnderWay(batches, dict(head), made, began_s)

    def collect(self) -> list[tuple[Batch, FloatArray]]:
        """Have the round under way count, waiting for it if need be.

        Returns
        -------
        Its batches with their embeddings; nothing if none was under way, or it came to nothing.
        """
        last, self._under_way = self._under_way, None
        if last is None:
            return []
        made = last.made.result()
        self._state = made.state
        return list(zip(last.batches, made.embeddings, strict=True)) if made.embeddings else []

    def adopt(self, layers: Tensors) -> None:
        """Go on from these layers with a fresh optimizer; a round under way never counts."""
        self._state, self._under_way = prefixed(LAYER, layers), None

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Layers and optimizer as they count now, and what the round under way was given."""
        state = prefixed("state", self._state)
        if self._under_way is not None:
            batches = msgspec.msgpack.encode(self._under_way.batches)
            state["batches"] = np.frombuffer(batches, np.uint8)
            state |= prefixed("head", self._under_way.head)
        return state

    def restore(self, snapshot: Tensors) -> None:
        """Become what `snapshot` described; make the round that was under way again."""
        self._state, self._under_way = under("state", snapshot), None
        if "batches" in snapshot:
            packed = snapshot["batches"].tobytes()
            batches = msgspec.msgpack.decode(packed, type=list[Batch])
            self.begin(batches, under("head", snapshot))


def batch_of(slots: IntArray, texts: Sequence[str], labels: IntArray) -> Batch:
    """A batch of these examples."""
    return Batch(slots.tolist(), list(texts), labels.tolist())

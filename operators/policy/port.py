"""What a deferral policy is: a serving half that routes a chunk, and a learning half."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from model_store.ledger import Usage
from operators.levels.port import Probabilities, Tensors
from operators.records import Reason

PREFIX = "policy"
"""Name under which a policy's tensors stand in a release, beside those of the levels."""

Rows = npt.NDArray[np.intp]


class Chunk(Protocol):
    """The events that are routed together, and the levels that can be asked about them."""

    @property
    def ids(self) -> Sequence[str]:
        """Event ids, in order."""

    @property
    def levels(self) -> int:
        """Number of small levels."""

    @property
    def labels(self) -> int:
        """Number of labels."""

    @property
    def trained(self) -> bool:
        """False before the first release."""

    def ask(self, level: int, rows: Rows) -> Probabilities:
        """Evaluate a small level on these events alone, shape (rows, labels), and note it."""


@dataclass(frozen=True)
class Routing:
    """Where each event of a chunk goes.

    Parameters
    ----------
    probabilities
        Shape (events, labels): what the small levels say together.
    level
        Shape (events,): index of the small level whose answer that is.
    sent
        Shape (events,): whether the expert is asked.
    reasons
        Why, or why not.
    propensity
        Shape (events,): probability with which the event was sent to the expert.
    degraded
        Shape (events,): the policy wanted the expert and may not ask.
    """

    probabilities: Probabilities
    level: npt.NDArray[np.intp]
    sent: npt.NDArray[np.bool_]
    reasons: Sequence[Reason]
    propensity: npt.NDArray[np.float64]
    degraded: npt.NDArray[np.bool_]


class Policy(Protocol):
    """The serving half of a deferral policy."""

    def stage(self, tensors: Tensors) -> object:
        """Check a release's tensors and prepare them, without touching what is served.

        Raises
        ------
        model_store.errors.TensorMismatch
            If a tensor is missing, or its shape or type does not fit.
        """

    def swap(self, staged: object) -> None:
        """Serve what `stage` returned from now on. Must not fail."""

    def route(self, chunk: Chunk, usage: Usage) -> Routing:
        """Decide where each event of the chunk goes; ask only levels that an event reaches."""

    def recent(self) -> list[float]:
        """The latest deferral scores, to be kept with a shard's state."""

    def recall(self, scores: Sequence[float]) -> None:
        """Take up scores that a shard's state remembers, none perhaps, after a restore from it."""


class PolicyLearner(Protocol):
    """The learning half of a deferral policy."""

    def learn(
        self,
        opinions: Sequence[Probabilities],
        labels: npt.NDArray[np.intp],
        propensity: npt.NDArray[np.float64],
    ) -> None:
        """Learn from annotations.

        Parameters
        ----------
        opinions
            For each small level, shape (annotations, labels), before it learned from them.
        labels
            Shape (annotations,): the expert's labels.
        propensity
            Shape (annotations,): probability with which each was sent to the expert.
        """

    def together(self, opinions: Sequence[Probabilities]) -> Probabilities:
        """What the small levels say together under the weights of this moment, shape as each."""

    def tensors(self, updates: Sequence[int]) -> dict[str, npt.NDArray[Any]]:
        """What to publish, given how often each level was updated."""

    def adopt(self, tensors: Tensors) -> None:
        """Go on from published tensors."""

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Everything that learning depends on."""

    def restore(self, snapshot: Tensors) -> None:
        """Become what `snapshot` described."""


def everything(chunk: Chunk) -> Rows:
    """All rows of a chunk."""
    return np.arange(len(chunk.ids))

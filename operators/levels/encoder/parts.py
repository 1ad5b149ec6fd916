"""How much each part of an embedding counts, chosen by cross-validation as labels come in.

The parts are means of different layers. Which of them tell a task's labels apart differs: often
the last layer where labels are topics, one below it where they are tones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from operators.levels.encoder.optimum import Labels, Matrix, log_loss

_OF_FIRST = (1.0, 1 / 3, 3.0)  # where the last part counts 1; equal losses leave them alike
_FOLDS = 4
_FEWEST = 64  # examples that can choose; then twice as many as the last time
_ENOUGH = 1024  # examples: more would not choose otherwise, and take seconds

Fit = Callable[[Matrix, Labels, Matrix, Matrix], Matrix]
"""A head's matrix by embeddings, labels, their shares, and how much each entry counts."""


class PartWeights:
    """The weights of an embedding's parts, which are of equal length.

    Parameters
    ----------
    parts
        One, of which there is nothing to choose, or two.
    """

    def __init__(self, dimension: int, parts: int) -> None:
        self._dimension = dimension
        self._parts = parts
        self.forget()

    def forget(self) -> None:
        """All parts count alike."""
        self._first = 1.0
        self._examples = 0  # that the choice was made by

    def entries(self, first: float | None = None) -> Matrix:
        """How much each entry counts, shape (dimension,): the mean of the squares is 1."""
        relative = np.ones(self._dimension)
        relative[: self._dimension // self._parts] = self._first if first is None else first
        return np.asarray(relative / np.sqrt((relative**2).mean()))

    def review(self, inputs: Matrix, labels: Labels, share: Matrix, fit: Fit) -> None:
        """Choose anew, if there are so many examples that it is time to."""
        count = len(labels)
        if self._parts == 1 or self._examples >= _ENOUGH:
            return
        if count < max(_FEWEST, 2 * self._examples):
            return
        rows = np.random.default_rng(count).permutation(count)[:_ENOUGH]
        chosen = inputs[rows], labels[rows], share[rows]
        losses = [_unseen_loss(*chosen, self.entries(first), fit) for first in _OF_FIRST]
        self._first = _OF_FIRST[int(np.argmin(losses))]
        self._examples = count

    def snapshot(self) -> Matrix:
        """The choice and the number of examples that made it, shape (2,)."""
        return np.array([self._first, self._examples], np.float64)

    def restore(self, snapshot: Matrix) -> None:
        """Go on with a choice that was made."""
        self._first, self._examples = float(snapshot[0]), int(snapshot[1])


def _unseen_loss(inputs: Matrix, labels: Labels, share: Matrix, entries: Matrix, fit: Fit) -> float:
    """Log loss of each fold's examples under a fit to those of the others, summed."""
    fold = np.arange(len(labels)) % _FOLDS
    loss = 0.0
    for left_out in range(_FOLDS):
        seen, unseen = fold != left_out, fold == left_out
        matrix = fit(inputs[seen], labels[seen], share[seen], entries)
        loss += log_loss(matrix, inputs[unseen], labels[unseen], share[unseen])
    return loss

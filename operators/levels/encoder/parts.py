"""How much each part of an embedding counts, chosen by cross-validation as labels come in.

The parts are means of different layers. Which of them tell a task's labels apart differs: often
the last layer where labels are topics, one below it where they are tones.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from operators.levels.encoder.optimum import Labels, Matrix, log_losses

_OF_FIRST = (1.0, 1 / 3, 3.0)  # where the last part counts 1
_FOLDS = 4
_FEWEST = 64  # examples that can choose; then twice as many as the last time
_MOST = 1024  # examples that a choice looks at
_WORK = 16_000_000  # examples times weights that it looks at, beyond the fewest: a second or so
_DOUBT = 0.5  # standard errors by which another choice has to be better than the present one

Fit = Callable[[Matrix, Matrix, Labels, Matrix, Matrix], Matrix]
"""A head's matrix by a start, embeddings, labels, their shares, and how much each entry counts."""


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
        self._chosen_at = 0  # examples seen when it was last chosen

    def entries(self, first: float | None = None) -> Matrix:
        """How much each entry counts, shape (dimension,): the mean of the squares is 1."""
        relative = np.ones(self._dimension)
        relative[: self._dimension // self._parts] = self._first if first is None else first
        return np.asarray(relative / np.sqrt((relative**2).mean()))

    def review(
        self, start: Matrix, inputs: Matrix, labels: Labels, share: Matrix, fit: Fit
    ) -> None:
        """Choose anew, if so many examples have been seen that it is time to.

        Parameters
        ----------
        start
            Where fits begin: nothing that these examples have taught.
        share
            For how many examples seen each one stands.
        """
        seen = round(float(share.sum()))
        due = seen >= max(_FEWEST, 2 * self._chosen_at) and len(labels) >= _FEWEST
        if self._parts == 1 or not due:
            return
        most = min(_MOST, max(_FEWEST, _WORK // start.size))
        rows = np.random.default_rng(seen).permutation(len(labels))[:most]
        losses = self._unseen_losses(start, inputs[rows], labels[rows], share[rows], fit)
        better = {of: losses[self._first] - losses[of] for of in _OF_FIRST if of != self._first}
        surely = {of: b.sum() - _DOUBT * b.std() * math.sqrt(len(b)) for of, b in better.items()}
        best = max(surely, key=surely.__getitem__)
        if surely[best] > 0:
            self._first = best
        self._chosen_at = seen

    def _unseen_losses(
        self, start: Matrix, inputs: Matrix, labels: Labels, share: Matrix, fit: Fit
    ) -> dict[float, Matrix]:
        """Log loss of each example under fits to those of the other folds, for each choice."""
        losses = {of_first: np.zeros(len(labels)) for of_first in _OF_FIRST}
        fold = np.arange(len(labels)) % _FOLDS
        for left_out in range(_FOLDS):
            seen, unseen = fold != left_out, fold == left_out
            matrix = start
            for of_first, loss in losses.items():  # from one optimum it is not far to the next
                entries = self.entries(of_first)
                matrix = fit(matrix, inputs[seen], labels[seen], share[seen], entries)
                loss[unseen] = log_losses(matrix, inputs[unseen], labels[unseen], share[unseen])
        return losses

    def snapshot(self) -> Matrix:
        """The choice, and how many examples were seen when it was made, shape (2,)."""
        return np.array([self._first, self._chosen_at], np.float64)

    def restore(self, snapshot: Matrix) -> None:
        """Go on with a choice that was made."""
        self._first, self._chosen_at = float(snapshot[0]), int(snapshot[1])

"""Answers that were paid before a failure, and would be lost by deciding their events again.

After a restore the latest chunks are decided a second time, by a release that has learned more, and
so may accept what was sent to the expert before. Its answer is there: to leave it would be to pay
for nothing, and to decide worse.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model_store.errors import StoreError
from model_store.ledger import Ledger
from operators.records import Answer, Event

_QUIET = 1000  # events of a shard without a remembered answer, after which nobody looks any more


class PaidAnswers:
    """Looks for remembered answers in shards that were restored.

    How far a shard was before the failure nobody tells for certain; but where events were sent to
    the expert, their answers are remembered. So it is looked after until a long stretch has none.

    Parameters
    ----------
    labels
        The task's: an answer from when there were others is none.
    """

    def __init__(self, ledger: Ledger, labels: Sequence[str]) -> None:
        self._ledger = ledger
        self._labels = labels
        self._quiet: dict[str, int] = {}

    def look_for(self, shard: str) -> None:
        """From now on look for answers to the events of a shard: it was restored."""
        self._quiet[shard] = 0

    def among(self, shard: str, events: Sequence[Event]) -> npt.NDArray[np.bool_]:
        """Which events of a chunk have been answered by the expert, shape (events,).

        None of them if the ledger is out of reach: then an answer is at most paid in vain.
        """
        found = np.zeros(len(events), np.bool_)
        if shard not in self._quiet:
            return found
        names = [event.call_id for event in events]
        try:
            answers = self._ledger.recall(names)
        except StoreError:
            return found
        for row, name in enumerate(names):
            data = answers.get(name)
            found[row] = data is not None and Answer.remembered(data, self._labels) is not None
        self._quiet[shard] = 0 if found.any() else self._quiet[shard] + len(events)
        if self._quiet[shard] >= _QUIET:
            del self._quiet[shard]
        return found

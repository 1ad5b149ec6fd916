"""Answers that were paid before a failure, and would be lost by deciding their events again.

After a restore the latest chunks are decided a second time, by a release that has learned more, and
so may accept what was sent to the expert before. Its answer is there: to leave it would be to pay
for nothing, and to decide worse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model_store.errors import StoreError
from model_store.ledger import Ledger
from operators.records import Event

_QUIET = 20  # chunks of a shard without a remembered answer, after which nobody looks any more


class PaidAnswers:
    """Looks for remembered answers, in each shard until it is past what was decided before.

    How far that was nobody tells for certain; but where events were sent to the expert before,
    their answers are remembered. So a shard is looked after from its first chunk here until a row
    of chunks has none.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._quiet = Counter[str]()

    def among(self, shard: str, events: Sequence[Event]) -> npt.NDArray[np.bool_]:
        """Which events of a chunk have been answered by the expert, shape (events,).

        None of them if the ledger is out of reach: then an answer is at most paid in vain.
        """
        nothing = np.zeros(len(events), np.bool_)
        if self._quiet[shard] >= _QUIET:
            return nothing
        try:
            answers = self._ledger.recall([event.call_id for event in events])
        except StoreError:
            return nothing
        self._quiet[shard] = 0 if answers else self._quiet[shard] + 1
        return np.array([event.call_id in answers for event in events], np.bool_)

"""Says once when the agreement that is proved falls below the target, and once when it is back.

The policy spends what the target allows to the last, so in normal times, too, what is proved goes
just below the target with every other disagreement that an audit finds, and comes back. That is no
news: an alarm is raised when it falls below by more than two findings cost.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from model_store.ledger import Usage

_log = logging.getLogger(__name__)
_FINDINGS = 2  # that come together by chance now and then
_DIGITS = 4


class AgreementAlarm:
    """Watches the bound that drives the policy. Not kept in any state: a restart tells again.

    Parameters
    ----------
    target
        Share of all decisions that the expert is to confirm, in (0, 1).
    audit
        Probability with which an accepted answer is audited: each finding stands for its inverse.
    proved
        The share that is proved, from the counts.
    """

    def __init__(self, target: float, audit: float, proved: Callable[[Usage], float]) -> None:
        self._target = target
        self._swing = _FINDINGS / audit
        self._proved = proved
        self.below = False
        """Whether the alarm was raised and what is proved has not reached the target since."""

    def look(self, usage: Usage) -> None:
        """Look at the counts after a lesson, and log a crossing as a line with a JSON object."""
        proved = self._proved(usage)
        missing = (self._target - proved) * usage.seen
        if not self.below and missing > self._swing:
            self.below = True
            _log.warning("agreement fell below its target: %s", self._told(usage, proved))
        elif self.below and missing <= 0:
            self.below = False
            _log.info("agreement is proved to its target again: %s", self._told(usage, proved))

    def _told(self, usage: Usage, proved: float) -> str:
        told = {
            "proved": round(proved, _DIGITS),
            "target": self._target,
            "events": usage.seen,
            "accepted": usage.seen - usage.deferred,
            "disagreeing_audits": usage.disagreeing,
        }
        return json.dumps(told)

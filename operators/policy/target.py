"""Aims at an agreement: accepts what may be wrong only as far as the audits prove it affordable.

Disagreements are spent like money. The target allows a share of the events; what is spent is not
what is hoped but the most that the audits leave possible, so the target is met with the confidence
of the bound, whatever the estimate of the risk is worth. That estimate only says where to begin.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model_store.ledger import Usage
from operators.audit.bounds import most_disagreements

_HORIZON = 400  # events over which what is left may be spent
Shares = npt.NDArray[np.float64]


class AgreementTarget:
    """Says how much disagreement the next events may add.

    Parameters
    ----------
    target
        Share of all events whose decision the expert would confirm, in (0, 1).
    audit
        Probability with which an accepted answer is audited, in (0, 1].
    confidence
        Of the promise, in (0, 1).
    """

    def __init__(self, target: float, audit: float, confidence: float) -> None:
        self._miss = 1 - target
        self._audit = audit
        self._alpha = 1 - confidence

    def allowance(self, usage: Usage) -> float:
        """Share of the next events that may disagree; never more than the target's own.

        A surplus is not spent at once: what is left over of good times would be gone before the
        audits could show that the times have changed. Nor is it spent to the end, at a full rate:
        each disagreement that an audit finds stands for many, and would shut the gate again.
        """
        left = self._miss * usage.seen - self._spent(usage)
        return min(self._miss, max(0.0, left / _HORIZON))

    def proved(self, usage: Usage) -> float:
        """Share of all events so far whose decision the expert would confirm, at the least."""
        return 1 - self._spent(usage) / max(1, usage.seen)

    def _spent(self, usage: Usage) -> float:
        """Disagreements that the audits leave possible."""
        accepted, found = usage.seen - usage.deferred, {self._audit: usage.disagreeing}
        return min(accepted, most_disagreements(found, self._audit, self._alpha))


def threshold_for(scores: Shares, risks: Shares, allowance: float) -> float:
    """Score from which on events are sent, so that the rest disagrees as often as allowed.

    Parameters
    ----------
    scores, risks
        Shape (events,): the latest deferral scores, and the estimated probability that the
        answers would disagree with the expert.
    allowance
        Estimated disagreements that may be accepted, as a share of these events.

    Returns
    -------
    -inf if all are to be sent, +inf if none is.
    """
    if allowance <= 0 or not len(scores):
        return -np.inf
    order = np.argsort(scores, kind="stable")
    affordable = np.searchsorted(np.cumsum(risks[order]), allowance * len(scores), side="right")
    return np.inf if affordable == len(scores) else float(scores[order[affordable]])

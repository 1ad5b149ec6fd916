"""With which probability an accepted answer is audited: the more it is in doubt, the likelier.

The answer to a doubtful question teaches more, and where there is more to find, looking more often
makes the estimate of the agreement surer (it would be surest with chances that follow the root of
the risk: Neyman 1934). But no answer is beyond an audit: a level may be sure and wrong.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_MOST = 0.5
Shares = npt.NDArray[np.float64]


class AuditChances:
    """Audits a share of the accepted answers, and each with some probability.

    Parameters
    ----------
    mean
        Share of the accepted answers that is audited, about, in [0, 0.5].
    least
        Probability with which any of them is audited at the least, in (0, mean]; `mean` itself
        audits all alike.
    """

    def __init__(self, mean: float, least: float) -> None:
        self.mean = mean
        self.least = least

    def of(self, doubts: Shares, accepted: Shares, coins: Shares) -> Shares:
        """Probabilities, for what the levels doubt their answers.

        Parameters
        ----------
        doubts
            Shape (events,), 0 or more.
        accepted
            Shape (any,): what they doubted the latest answers that were accepted.
        coins
            Shape (events,), in [0, 1): others than those of the audits. They round.

        Returns
        -------
        Shape (events,): `least` times a power of 2, so that evidence is a few counts and not a
        list of all that was found.
        """
        if self.mean == 0:
            return np.zeros(len(doubts))
        typical = accepted.mean() if len(accepted) else 0.0
        relative = doubts / typical if typical > 0 else np.zeros(len(doubts))
        wanted = np.minimum(_MOST, self.least + (self.mean - self.least) * relative)
        below = self.least * 2.0 ** np.floor(np.log2(wanted / self.least))
        return np.where(coins < wanted / below - 1, 2 * below, below)

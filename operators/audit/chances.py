"""With which probability an accepted answer is audited: the more it is in doubt, the likelier.

The estimate of the agreement is the surer the nearer the chances follow the risk of a disagreement
(Neyman allocation), and the answer to a doubtful question teaches more. None is ever beyond an
audit: a level may be sure and wrong.
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

    def of(self, doubts: Shares, accepted: Shares) -> Shares:
        """Probabilities, for what the levels doubt their answers.

        Parameters
        ----------
        doubts
            Shape (events,), 0 or more.
        accepted
            Shape (any,): what they doubted the latest answers that were accepted.

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
        return np.asarray(self.least * 2.0 ** np.rint(np.log2(wanted / self.least)))

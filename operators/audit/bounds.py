"""How many accepted answers disagree with the expert: bounds that hold at every moment at once.

An accepted answer is audited by a coin of known probability, whatever the answer is. So of those
that disagree, in the order in which they came, each was found by a coin of its own: however the
stream drifts and whatever the policy does with what it learns, the number found among the first k
is a random walk of k coins. Only k is unknown, and only a k under which the walk is not absurd is
believed. Absurd is what a bet against the coin would have multiplied its stake by 1/alpha on: bets
on all other rates, evenly mixed, are a nonnegative martingale, and Ville's inequality lets it get
there with a probability of at most alpha, over all time (Waudby-Smith and Ramdas 2024, "Estimating
means of bounded random variables by betting"; the outcomes here are coins, so nothing is lost to
an inequality for bounded variables).

What is decided again after a failure is audited by new coins: the levels may have learned what the
old ones have shown, and so agree where they were caught.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.special import betainc, betaincc, betaln  # scipy.stats takes longer to import

_CACHED = 65_536
_FIRST_STEP = 64


@lru_cache(_CACHED)
def most_disagreements(found: int, rate: float, alpha: float) -> int:
    """Upper bound on the disagreements of a stream of which audits have found so many.

    Parameters
    ----------
    found
        Disagreements that audits have found, 0 or more.
    rate
        Probability with which each accepted answer was audited, in (0, 1].
    alpha
        Probability, in (0, 1), with which the bound may fail at any moment of the stream.

    Returns
    -------
    The largest number of disagreements, those found included, that is still believed.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """
    _check(found, rate, alpha)
    if rate == 1:
        return found

    def absurd(missed: int) -> bool:
        """Fewer were found than the coin would have found."""
        bets = _log(betainc(found + 1, missed + 1, rate)) - np.log(rate)
        return bool(bets - _log_odds_against(found, missed, rate) >= -np.log(alpha))

    high = _FIRST_STEP
    while not absurd(high):
        high *= 2
    return found + _first(absurd, high) - 1  # `found` itself is believed: no coin has missed


@lru_cache(_CACHED)
def fewest_disagreements(found: int, rate: float, alpha: float) -> int:
    """Lower bound, in the terms of `most_disagreements`.

    Returns
    -------
    The smallest number of disagreements, those found included, that is still believed.
    """
    _check(found, rate, alpha)
    if rate == 1:
        return found

    def believed(missed: int) -> bool:
        """Not many more were found than the coin would have found."""
        bets = _log(betaincc(found + 1, missed + 1, rate)) - np.log1p(-rate)
        return bool(bets - _log_odds_against(found, missed, rate) < -np.log(alpha))

    return found + _first(believed, most_disagreements(found, rate, alpha))


def _log(share: float) -> float:
    """Logarithm of a share that may be too small for a float."""
    return math.log(share) if share > 0 else -math.inf


def _log_odds_against(found: int, missed: int, rate: float) -> float:
    """Log-likelihood of the walk under the coin, less that under all rates of (0, 1) alike."""
    under_coin = found * np.log(rate) + missed * np.log1p(-rate)
    return float(under_coin - betaln(found + 1, missed + 1))


def _first(holds: Callable[[int], bool], high: int) -> int:
    """The smallest number from 0 to `high` of which it holds; beyond it, it goes on to hold."""
    low = 0
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _check(found: int, rate: float, alpha: float) -> None:
    if found < 0 or not 0 < rate <= 1 or not 0 < alpha < 1:
        message = f"no bound for found={found}, rate={rate}, alpha={alpha}"
        raise ValueError(message)

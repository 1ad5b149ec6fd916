"""How many accepted answers disagree with the expert: bounds that hold at every moment at once.

An accepted answer is audited by a coin of known probability p, whatever the answer is. A gambler
bets on every disagreement, in the order in which they come: his stake is multiplied by 1 / (1 - q),
and by 1 - q / p as well where an audit finds it. The coin makes that fair for every q below p, so
however the stream drifts, and whatever the policy does with what it learns, what he owns is a
nonnegative martingale. And it is known but for one number: after N disagreements, those found ones
among them with p_1, p_2, ..., he owns (1 - q)^-N times the product of the 1 - q / p_i. Ville's
inequality lets it reach 1 / alpha with a probability of at most alpha, over all time; so an N under
which it has is not believed. A positive q bets on many that were missed, a negative one on few, and
a stake spread over many q, as is done here, wins about what the best of them does (Waudby-Smith and
Ramdas 2024, "Estimating means of bounded random variables by betting").

What is decided again after a failure is audited by new coins: the levels may have learned what the
old ones have shown, and so agree where they were caught.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Findings = Mapping[float, int]
"""Disagreements that audits have found, by the probability with which each was audited."""

_CACHED = 65_536
_FIRST_STEP = 64
_POINTS, _SHARES = np.polynomial.legendre.leggauss(32)
_POINTS, _SHARES = (_POINTS + 1) / 2, _SHARES / 2  # from (-1, 1) to (0, 1)
_MISSED = _POINTS
"""Bets q on many that were missed, as parts of the least probability of an audit."""
_FOUND = -_POINTS / (1 - _POINTS)
"""Bets on few: no q below 0 is too large for a coin."""


def most_disagreements(found: Findings, least: float, alpha: float) -> int:
    """Upper bound on the disagreements of a stream of which audits have found so many.

    Parameters
    ----------
    found
        What audits have found.
    least
        The least probability with which any accepted answer was audited, in (0, 1], chosen before
        the first was.
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
    return _believed(_checked(found, least, alpha), least, alpha)[1]


def fewest_disagreements(found: Findings, least: float, alpha: float) -> int:
    """Lower bound, in the terms of `most_disagreements`.

    Returns
    -------
    The smallest number of disagreements, those found included, that is still believed.
    """
    return _believed(_checked(found, least, alpha), least, alpha)[0]


@lru_cache(_CACHED)
def _believed(found: tuple[tuple[float, int], ...], least: float, alpha: float) -> tuple[int, int]:
    """The fewest and the most disagreements that are believed, each at `alpha`."""
    count = sum(number for _, number in found)
    if least == 1:
        return count, count
    too_many = _ruled_out(found, least * _MISSED, alpha)
    too_few = _ruled_out(found, least * _FOUND, alpha)
    high = _FIRST_STEP
    while not too_many(count + high):
        high *= 2
    most = _first(too_many, count, count + high) - 1  # `count` is believed: no coin has missed
    return _first(lambda total: not too_few(total), count, most), most


def _ruled_out(
    found: tuple[tuple[float, int], ...], bets: npt.NDArray[np.float64], alpha: float
) -> Callable[[int], bool]:
    """Whether so many disagreements in all would have made the gambler 1 / alpha times as rich."""
    from_found = np.log(_SHARES)
    for probability, number in found:
        from_found = from_found + number * np.log1p(-bets / probability)
    from_each, enough = -np.log1p(-bets), -np.log(alpha)

    def absurd(total: int) -> bool:
        return bool(np.logaddexp.reduce(from_found + total * from_each) >= enough)

    return absurd


def _first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The smallest number from `low` to `high` of which it holds; beyond, it goes on to hold."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _checked(found: Findings, least: float, alpha: float) -> tuple[tuple[float, int], ...]:
    counted = all(number >= 0 and least <= p <= 1 for p, number in found.items())
    if not counted or not 0 < least <= 1 or not 0 < alpha < 1:
        message = f"no bound for found={dict(found)}, least={least}, alpha={alpha}"
        raise ValueError(message)
    return tuple(sorted(found.items()))

"""Numbers as people read them, the same on the page and in the terminal."""

from __future__ import annotations

from flink_job.evaluation.results import Proportion

UNKNOWN = "n/a"
"""Stands where the source has no gold label or no answer of the expert to compare with."""


def count(number: int) -> str:
    """Write a whole number: ``12,500``."""
    return f"{number:,}"


def percent(share: float) -> str:
    """Write a share: 0.934 is ``93.4 %``."""
    return f"{share:.1%}".replace("%", " %")


def proportion(counted: Proportion | None) -> str:
    """Write a counted share with its 95 % interval: ``93.4 % (92.9 to 93.8)``."""
    if counted is None:
        return UNKNOWN
    return f"{percent(counted.share)} ({100 * counted.low:.1f} to {100 * counted.high:.1f})"


def score(value: float | None) -> str:
    """Write an F1, a precision or a recall: ``0.534``."""
    return UNKNOWN if value is None else f"{value:.3f}"


def dollars(amount: float) -> str:
    """Write an amount of money: ``$12.34``, and four digits below one dollar: ``$0.0123``."""
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.4f}"

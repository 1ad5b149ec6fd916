"""What a call draws from a budget that goes by the clock: before it is made, and after it."""

from __future__ import annotations

import math

from operators.expert.prompt import system_message, user_message
from operators.settings import (
    BudgetSettings,
    CascadeSettings,
    OpenAIExpertSettings,
    PriceSettings,
)

TEMPLATE_TOKENS = 64
"""What a chat template puts around a system and a user message, generously: usually about ten."""
_NANOS_A_MICRO = 1000


class Tariff:
    """Turns the tokens of a call into whole units of the budget: calls, tokens or money.

    Parameters
    ----------
    budget
        One with a window.
    price
        What the provider charges; of use to a budget of money alone.
    """

    def __init__(self, budget: BudgetSettings, price: PriceSettings) -> None:
        self._budget = budget
        self._price = price

    def amount(self, tokens_in: int, tokens_out: int) -> int:
        """What a call of so many tokens draws, rounded up."""
        if self._budget.per_hour is not None:
            return 1
        if self._budget.tokens_per_minute is not None:
            return tokens_in + tokens_out
        # US dollars a million tokens are millionths of a dollar a token.
        micros = self._price.input_usd * tokens_in + self._price.output_usd * tokens_out
        return math.ceil(_NANOS_A_MICRO * micros)


def most_prompt_tokens(system: str, user: str) -> int:
    """The most tokens that a prompt of these two messages can have: a token is at least a byte."""
    return len(system.encode()) + len(user.encode()) + TEMPLATE_TOKENS


def tariff_of(settings: CascadeSettings) -> Tariff | None:
    """The tariff of a job; None if its budget does not go by the clock."""
    if settings.budget is None or settings.budget.window is None:
        return None
    expert = settings.expert
    price = expert.price if isinstance(expert, OpenAIExpertSettings) else PriceSettings()
    return Tariff(settings.budget, price)


def most_for_text(settings: CascadeSettings, text: str) -> int:
    """The most that a call about a text draws; 0 without a tariff."""
    tariff, expert = tariff_of(settings), settings.expert
    if tariff is None:
        return 0
    if not isinstance(expert, OpenAIExpertSettings):
        return tariff.amount(0, 0)
    system = system_message(settings.task.prompt, settings.task.labels)
    user = user_message(text, expert.max_chars)
    return tariff.amount(most_prompt_tokens(system, user), expert.max_tokens)

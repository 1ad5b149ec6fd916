"""What a call draws: never less than it can take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.expert.prompt import system_message, user_message
from operators.expert.tariff import Tariff, most_for_text, most_prompt_tokens, tariff_of
from operators.settings import BudgetSettings, CascadeSettings, PriceSettings

PRICE = PriceSettings(input_usd=0.15, output_usd=0.6)


def job(budget: dict[str, float] | None, **expert: object) -> CascadeSettings:
    chosen = expert or {"kind": "openai", "model": "m", "price": PRICE.model_dump()}
    return CascadeSettings.model_validate(
        {
            "task": {"name": "t", "labels": ["ok", "no"], "prompt": "Which?"},
            "expert": chosen,
            "budget": budget,
            "policy": "budgeted" if budget else "paper",
        }
    )


@pytest.mark.parametrize(
    ("budget", "amount"),
    [
        (BudgetSettings(per_hour=5), 1),
        (BudgetSettings(tokens_per_minute=5), 101),
        (BudgetSettings(usd_per_hour=5), 15_600),
    ],
)
def test_units(budget: BudgetSettings, amount: int) -> None:
    assert Tariff(budget, PRICE).amount(100, 1) == amount


@given(tokens_in=st.integers(0, 10**6), tokens_out=st.integers(0, 10**6))
def test_money_is_rounded_up_and_hardly(tokens_in: int, tokens_out: int) -> None:
    price = PriceSettings(input_usd=0.0333333, output_usd=0.1)
    drawn = Tariff(BudgetSettings(usd_per_hour=5), price).amount(tokens_in, tokens_out)
    exact = 33.3333 * tokens_in + 100 * tokens_out
    assert exact - 1e-3 <= drawn <= exact + 1.001


def test_a_job_without_a_clock_has_no_tariff() -> None:
    assert tariff_of(job(None)) is None
    assert tariff_of(job({"share": 0.1})) is None
    assert most_for_text(job({"share": 0.1}), "x") == 0


@given(text=st.text(max_size=200))
def test_the_most_covers_every_byte_and_the_whole_answer(text: str) -> None:
    settings = job({"tokens_per_minute": 10_000})
    system = system_message("Which?", ["ok", "no"])
    user = user_message(text, 20_000)
    assert most_for_text(settings, text) >= len((system + user).encode()) + 16
    assert most_prompt_tokens(system, user) > len(system) + len(user)


def test_a_record_draws_a_call() -> None:
    settings = job({"per_hour": 9}, kind="recorded", column="c")
    assert most_for_text(settings, "x") == 1

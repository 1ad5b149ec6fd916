"""The expert that replays recorded answers."""

from __future__ import annotations

import asyncio

import pytest

from operators.expert.port import ExpertRefused, Reply
from operators.expert.recorded import RecordedExpert
from operators.records import Event


def ask(recorded: str | None) -> Reply:
    async def run() -> Reply:
        expert = RecordedExpert(("spam", "ok"))
        reply = await expert.ask(Event("1", "k", "t", "task", recorded=recorded))
        await expert.close()
        return reply

    return asyncio.run(run())


def test_a_record_is_read_like_an_answer_and_costs_nothing() -> None:
    assert ask(" Spam.") == Reply("spam", tokens_in=0, tokens_out=0)


@pytest.mark.parametrize(
    ("recorded", "kind"),
    [(None, "no_record"), ("", "no_record"), ("spam or ok", "nonsense"), (" ", "nonsense")],
)
def test_anything_else_is_a_refusal(recorded: str | None, kind: str) -> None:
    with pytest.raises(ExpertRefused) as caught:
        ask(recorded)
    assert caught.value.kind == kind

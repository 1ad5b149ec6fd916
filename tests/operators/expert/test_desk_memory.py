"""The desk and the ledger's memory: paid once, answered once, whatever fails in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.ledger import Grant
from model_store.memory_ledger import MemoryLedger
from operators.expert.port import ExpertRefused
from operators.records import Answer
from tests.operators.expert.desks import ScriptedExpert, answer, down
from tests.operators.fakes import DownLedger, event, memory_ledger


def test_remembered_answers_cost_nothing() -> None:
    ledger = memory_ledger()
    (first,) = answer(ScriptedExpert(), [event(1)], ledger=ledger, calls=1)
    expert = ScriptedExpert()
    again, other = answer(expert, [event(1), event(2)], ledger=ledger, calls=1)
    assert again == first
    assert other.answer.failure == "budget"
    assert expert.calls == []


def test_failures_are_never_remembered() -> None:
    ledger = memory_ledger()
    refused = ScriptedExpert({"1": (ExpertRefused("nonsense"),)})
    assert answer(refused, [event(1)], ledger=ledger)[0].answer.failure == "nonsense"
    assert answer(ScriptedExpert(), [event(1)], ledger=ledger)[0].answer.label == "ok"


def test_an_event_under_an_old_id_with_another_text_is_asked() -> None:
    ledger = memory_ledger()
    answer(ScriptedExpert(), [event(1, "first text")], ledger=ledger)
    expert = ScriptedExpert()
    answer(expert, [event(1, "second text")], ledger=ledger)
    assert expert.calls == ["second text"]


@pytest.mark.parametrize("calls", [None, 2])
def test_the_same_event_twice_in_a_chunk_is_asked_once(calls: int | None) -> None:
    """Both would run under one reservation: a call more than the ledger counts."""
    expert, ledger = ScriptedExpert(), memory_ledger()
    verdicts = answer(expert, [event(1), event(2), event(1)], ledger=ledger, calls=calls)
    assert [verdict.answer.label for verdict in verdicts] == ["ok", "ok", "ok"]
    assert len(expert.calls) == ledger.usage().reserved == 2


def test_without_a_ledger_no_call_is_made() -> None:
    expert = ScriptedExpert()
    verdicts = answer(expert, [event(1), event(2)], ledger=DownLedger())
    assert [v.answer for v in verdicts] == [Answer(None, "ledger_unavailable")] * 2
    assert expert.calls == []


class Failing(MemoryLedger):
    """A ledger of which some calls fail."""

    def __init__(self, fails: Callable[[str, int], bool]) -> None:
        super().__init__(ttl_s=1000, monotonic=lambda: 0.0)
        self._fails = fails
        self._counts: dict[str, int] = {}

    def _check(self, name: str) -> None:
        number = self._counts[name] = self._counts.get(name, 0) + 1
        if self._fails(name, number):
            DownLedger().usage()

    def reserve(
        self,
        call_ids: Sequence[str],
        cap: int | None,
        *,
        retry: bool = False,
        amounts: Sequence[int] | None = None,
    ) -> list[Grant]:
        self._check("reserve")
        return super().reserve(call_ids, cap, retry=retry, amounts=amounts)

    def remember(self, answers: Mapping[str, bytes]) -> None:
        self._check("remember")
        super().remember(answers)

    def recall(self, ids: Sequence[str]) -> dict[str, bytes]:
        self._check("recall")
        return super().recall(ids)


def test_a_ledger_lost_before_a_retry_ends_the_attempts() -> None:
    expert = ScriptedExpert({"1": [down()] * 9})
    ledger = Failing(lambda name, number: name == "reserve" and number > 1)
    (verdict,) = answer(expert, [event(1)], ledger=ledger)
    assert (verdict.answer.failure, verdict.answer.calls) == ("ledger_unavailable", 1)
    assert len(expert.calls) == 1


@pytest.mark.parametrize("broken", ["recall", "remember"])
def test_a_memory_that_fails_costs_at_most_another_call(broken: str) -> None:
    ledger = Failing(lambda name, _: name == broken)
    assert answer(ScriptedExpert(), [event(1)], ledger=ledger)[0].answer.label == "ok"
    assert answer(ScriptedExpert(), [event(1)], ledger=ledger)[0].answer.label == "ok"


@pytest.mark.parametrize("data", [b"", b"\x80", b"[]", b'{"label": 5}'])
def test_a_remembered_answer_that_is_none_is_asked_again(data: bytes) -> None:
    """What others wrote into the store must not fail the job until it expires."""
    ledger, expert = memory_ledger(), ScriptedExpert()
    ledger.remember({event(1).call_id: data})
    (verdict,) = answer(expert, [event(1)], ledger=ledger)
    assert verdict.answer.label == "ok"
    assert expert.calls == ["1"]


@given(id_1=st.text(), text_1=st.text(), id_2=st.text(), text_2=st.text())
def test_calls_of_different_events_have_different_names(
    id_1: str, text_1: str, id_2: str, text_2: str
) -> None:
    one, two = event(id_1, text_1), event(id_2, text_2)
    assert (one.call_id == two.call_id) == (one == two)
    # Nor does a name ever stand for another event's second attempt.
    assert f"{one.call_id}#2" != two.call_id


def test_a_name_does_not_show_the_text() -> None:
    assert "secret" not in event(1, "secret").call_id


def test_an_event_that_failed_and_comes_again_pays_again() -> None:
    ledger = memory_ledger()
    for _ in range(3):
        expert = ScriptedExpert({"1": (down(), ExpertRefused("nonsense"))})
        answer(expert, [event(1)], ledger=ledger, calls=5)
    usage = ledger.usage()
    assert (usage.reserved, usage.retried) == (5, 2)


def test_an_answer_remembered_from_other_labels_is_asked_again() -> None:
    ledger = memory_ledger()
    ledger.remember({event(1).call_id: b'{"label": "gone", "calls": 1}'})
    (verdict,) = answer(ScriptedExpert(), [event(1)], ledger=ledger)
    assert verdict.answer.label == "ok"

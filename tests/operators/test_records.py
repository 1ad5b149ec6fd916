"""Records survive the wire, and nothing else passes for them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.records import (
    Annotation,
    Answer,
    DeadLetter,
    Decision,
    Deferral,
    Event,
    Lesson,
    Opinion,
    Reason,
    Verdict,
    pack,
    to_json_lines,
    unpack,
)

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_SHARE = st.floats(0, 1)
_ROW = st.lists(_SHARE, max_size=4).map(tuple)
_COUNT = st.integers(0, 2**53)
_EVENT = st.builds(Event, _TEXT, _TEXT, _TEXT, _TEXT, _TEXT, st.none() | _TEXT)
_OPINIONS = st.lists(st.builds(Opinion, _TEXT, _ROW), max_size=3).map(tuple)
_DEFERRAL = st.builds(
    Deferral, _EVENT, _OPINIONS, _ROW, _TEXT, st.sampled_from(Reason), _SHARE, st.none() | _TEXT
)
_ANSWER = st.builds(
    Answer, st.none() | _TEXT, st.none() | _TEXT, _COUNT, _COUNT, _COUNT, _COUNT, _SHARE
)
_ANNOTATION = st.builds(
    Annotation, _TEXT, _TEXT, _COUNT, st.none() | _COUNT, st.sampled_from(Reason), _SHARE
)
RECORDS: dict[type[msgspec.Struct], st.SearchStrategy[Any]] = {
    Event: _EVENT,
    Deferral: _DEFERRAL,
    Answer: _ANSWER,
    Verdict: st.builds(Verdict, _DEFERRAL, _ANSWER),
    Annotation: _ANNOTATION,
    Lesson: st.builds(Lesson, st.lists(_ANNOTATION, max_size=3).map(tuple), _COUNT),
    Decision: st.builds(
        Decision, _TEXT, _TEXT, _TEXT, _TEXT, _TEXT, _ROW, _TEXT, st.none() | _TEXT,
        st.sampled_from(Reason), _SHARE, _COUNT, _COUNT, st.booleans(), st.none() | _TEXT,
    ),
    DeadLetter: st.builds(DeadLetter, _TEXT, _COUNT, _TEXT, _TEXT),
}  # fmt: skip


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_round_trip(kind: type[msgspec.Struct], data: st.DataObject) -> None:
    records = data.draw(st.lists(RECORDS[kind], max_size=4))
    assert unpack(pack(records), kind) == records
    lines = to_json_lines(records)
    assert [msgspec.json.decode(line, type=kind) for line in lines.split("\n") if line] == records


@settings(max_examples=60, deadline=None)
@given(events=st.lists(_EVENT, min_size=1, max_size=3), data=st.data())
def test_cut_bytes_are_no_chunk(events: list[Event], data: st.DataObject) -> None:
    whole = pack(events)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(msgspec.DecodeError):
        unpack(whole[:cut], Event)


@given(data=st.binary(max_size=40))
def test_any_bytes_are_a_chunk_or_raise(data: bytes) -> None:
    try:
        events = unpack(data, Event)
    except msgspec.DecodeError:
        return
    assert all(isinstance(event, Event) for event in events)


@pytest.mark.parametrize(
    "content",
    [
        {"id": "1"},
        [{"id": "1", "key": "k", "text": "t"}],
        [{"id": 1, "key": "k", "text": "t", "task": "x"}],
        [{"id": "1", "key": "k", "text": None, "task": "x"}],
        [["1", "k", "t", "x"]],
        None,
        "text",
    ],
)
def test_well_formed_bytes_of_another_kind_are_refused(content: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        unpack(msgspec.msgpack.encode(content), Event)


def test_an_unknown_reason_is_refused() -> None:
    annotation = msgspec.to_builtins(Annotation("e", "t", 0, None, Reason.AUDIT, 0.5))
    with pytest.raises(msgspec.ValidationError, match="reason"):
        unpack(msgspec.msgpack.encode([annotation | {"reason": "whim"}]), Annotation)


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_records_are_frozen(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_config__.frozen


def test_json_lines_are_one_line_a_record() -> None:
    letters = [DeadLetter("s", 1, "e\nf", "\u2028raw"), DeadLetter("s", 2, "", "")]
    lines = to_json_lines(letters).split("\n")
    assert [json.loads(line)["line"] for line in lines] == [1, 2]
    assert to_json_lines([]) == ""

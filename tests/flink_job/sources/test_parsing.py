from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_job.source_settings import FieldSettings, FileSourceSettings
from flink_job.sources.parsing import parse, shard_of
from flink_job.sources.reading import Row, read_rows
from operators.records import DeadLetter, Event, to_json_lines

FIELDS = FieldSettings(key="author", time="time")
GOOD = {"id": "e1", "author": "ann", "text": "hello", "time": "2026-01-05", "expert": "ok"}


def parsed(
    values: dict[str, Any], fields: FieldSettings = FIELDS, recorded: str | None = "expert"
) -> Event | DeadLetter:
    return parse(Row(7, values, raw="raw"), "posts.csv", "moderation", fields, recorded)


def test_an_event() -> None:
    assert parsed(GOOD) == Event("e1", "ann", "hello", "moderation", "2026-01-05", "ok")


def test_what_no_setting_names_is_not_looked_at() -> None:
    event = parsed(GOOD | {"time": [], "expert": {}}, FieldSettings(), None)
    assert event == Event("e1", "e1", "hello", "moderation")


def test_events_without_ids_are_numbered_by_file_and_line() -> None:
    event = parsed({"text": "a"}, FieldSettings(id=None), None)
    assert isinstance(event, Event)
    assert (event.id, event.key) == ("posts.csv:7", "posts.csv:7")


@pytest.mark.parametrize(
    ("value", "identity"), [(17, "17"), (0, "0"), (1.5, "1.5"), (-(10**30), "-1" + "0" * 30)]
)
def test_numbers_are_ids(value: float, identity: str) -> None:
    event = parsed(GOOD | {"id": value})
    assert isinstance(event, Event)
    assert event.id == identity


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"id": ""}, "id: the id is empty"),
        ({"id": None}, "id: is missing"),
        ({"id": True}, "id: a text is needed, not bool"),
        ({"id": "x" * 513}, "id: 513 characters, more than 512"),
        ({"id": float("nan")}, "id: a text is needed, not nan"),
        ({"text": float("-inf")}, "text: a text is needed, not -inf"),
        ({"text": ""}, "text: the text is empty"),
        ({"text": " \t\r\n\u2003"}, "text: the text is empty"),
        ({"text": None}, "text: is missing"),
        ({"text": ["a"]}, "text: a text is needed, not list"),
        ({"text": {"a": 1}}, "text: a text is needed, not dict"),
        ({"text": "a\ud800"}, "text: no valid UTF-8 at character 1"),
        ({"text": "caf\udce9"}, "text: no valid UTF-8 at character 3"),
        ({"text": "x" * (2**20 + 1)}, "text: 1048577 characters, more than 1048576"),
        ({"author": None}, "author: is missing"),
        ({"author": "\udfff"}, "author: no valid UTF-8"),
        ({"time": {}}, "time: a text is needed"),
        ({"expert": False}, "expert: a text is needed, not bool"),
    ],
)
def test_what_is_wrong_with_an_event_is_said(change: dict[str, Any], error: str) -> None:
    letter = parsed(GOOD | change)
    assert isinstance(letter, DeadLetter)
    assert (letter.source, letter.line, letter.raw) == ("posts.csv", 7, "raw")
    assert error in letter.error


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_field_that_the_settings_name_must_be_there(name: str) -> None:
    letter = parsed({key: value for key, value in GOOD.items() if key != name})
    assert isinstance(letter, DeadLetter)
    assert letter.error == f"{name}: is missing"


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_time_or_a_recorded_answer_may_be_unknown(nothing: str | None) -> None:
    event = parsed(GOOD | {"time": nothing, "expert": nothing})
    assert isinstance(event, Event)
    assert (event.time, event.recorded) == ("", None)


def test_a_row_that_could_not_be_read_keeps_its_reason() -> None:
    letter = parse(Row(3, None, "no JSON", "{"), "a.jsonl", "t", FIELDS, None)
    assert letter == DeadLetter("a.jsonl", 3, "no JSON", "{")


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
json_lines = st.dictionaries(st.sampled_from(sorted(GOOD)), json_values).map(
    lambda values: json.dumps(values).encode()
)


@settings(max_examples=100, deadline=None)
@given(
    lines=st.lists(json_lines | st.binary(max_size=30) | st.just(json.dumps(GOOD).encode())),
    kind=st.sampled_from(["csv", "jsonl"]),
)
def test_whatever_a_file_holds_each_record_is_an_event_or_a_dead_letter(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], kind: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"anything.{kind}"
    header = b"id,author,text,time,expert\n" if kind == "csv" else b""
    path.write_bytes(header + b"\n".join(lines))
    rows = list(read_rows(path, FileSourceSettings(path=path), tuple(GOOD)))
    records = [parse(row, path.name, "t", FIELDS, "expert") for row in rows]
    if kind == "jsonl":
        assert len(records) == sum(bool(part.strip()) for part in b"\n".join(lines).split(b"\n"))
    for record in records:
        decoded = msgspec.json.decode(to_json_lines([record]), type=type(record))
        assert decoded == record
        if isinstance(record, Event):
            assert record.text.strip()
            assert record.id
        else:
            assert record.error


@given(key=st.text(), shards=st.integers(1, 32_768))
def test_a_shard_is_in_range(key: str, shards: int) -> None:
    assert 0 <= shard_of(key, shards) < shards


@pytest.mark.parametrize(
    ("key", "shard"), [("", 692), ("a", 559), ("ann", 933), ("漢字", 842), ("\0", 584)]
)
def test_shards_never_change(key: str, shard: int) -> None:
    # State is kept by shard: another hash would lose it at the next restore.
    assert shard_of(key, 4096) == shard


def test_shards_are_even() -> None:
    counts = [0] * 8
    for number in range(8000):
        counts[shard_of(f"user{number}", 8)] += 1
    assert min(counts) > 850


def test_the_path_of_the_source_is_no_part_of_an_event(tmp_path: Path) -> None:
    event = parsed({"text": "a"}, FieldSettings(id=None), None)
    assert str(tmp_path) not in repr(event)

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_job.demo.posts import LABELS
from flink_job.settings import JobSettings
from flink_job.sources.blocks import Block
from flink_job.sources.parsing import shard_of
from flink_job.sources.stretch import Stretch, cut, read_stretch

TIME = "2026-01-31 23:59:59.123"


def make(**fields: str | None) -> JobSettings:
    return JobSettings.model_validate(
        {
            "task": {"name": "m", "labels": list(LABELS), "prompt": "?"},
            "source": {
                "kind": "kafka",
                "bootstrap": "h:1",
                "topics": ["posts"],
                "group": "g",
                "fields": fields,
            },
            "sink": {"path": "out"},
            "levels": [{"kind": "linear"}],
            "expert": {"kind": "openai", "model": "m"},
            "budget": {"share": 0.1},
        }
    )


def stretch(*contents: bytes | None) -> Stretch:
    numbers = range(7, 7 + len(contents))
    return Stretch("posts-3", list(numbers), [TIME] * len(contents), list(contents))


def read(job: JobSettings, records: Stretch) -> Block:
    return read_stretch(job, records, "no value")


def told(**values: Any) -> bytes:
    return json.dumps(values).encode()


def test_an_event_has_its_fields_and_kafkas_time() -> None:
    block = read(make(id="a.b", text="t", key="c"), stretch(told(a={"b": 5}, t="x", c="k")))
    ((event,),) = block.chunks.values()
    assert (event.id, event.text, event.key) == ("5", "x", "k")
    assert event.time == "2026-01-31T23:59:59.123Z"
    assert list(block.chunks) == [shard_of("k", 8)]


def test_its_own_time_comes_before_kafkas() -> None:
    block = read(make(id=None, time="when"), stretch(told(text="x", when="today")))
    ((event,),) = block.chunks.values()
    assert event.time == "today"


def test_without_an_id_the_place_is_one() -> None:
    block = read(make(id=None), stretch(told(text="x"), told(text="y")))
    assert sorted(e.id for c in block.chunks.values() for e in c) == ["posts-3:7", "posts-3:8"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, "no value"),
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[1]", "a JSON object is needed"),
        (b"[" * 100_000, "no JSON"),
        (told(id="1"), "text: is missing"),
        (told(text="x"), "id: is missing"),
        (told(id="1", text="\ud800"), "no valid UTF-8"),
    ],
)
def test_what_is_no_event_is_a_dead_letter_with_its_place(
    content: bytes | None, error: str
) -> None:
    block = read(make(), stretch(told(id="1", text="x"), content))
    (letter,) = block.dead
    assert (letter.source, letter.line) == ("posts-3", 8)
    assert error in letter.error
    assert block.events == 1


@given(st.lists(st.one_of(st.none(), st.binary(max_size=20), st.integers(0, 5)), max_size=30))
def test_every_record_is_one_event_or_one_dead_letter(contents: list[Any]) -> None:
    job = make(id=None, key="k")
    given_ = [told(text="x", k=c) if isinstance(c, int) else c for c in contents]
    block = read(job, stretch(*given_))
    places = [e.id for chunk in block.chunks.values() for e in chunk]
    places += [f"{letter.source}:{letter.line}" for letter in block.dead]
    assert sorted(places) == sorted(f"posts-3:{i}" for i in range(7, 7 + len(contents)))
    for shard, events in block.chunks.items():
        assert {shard_of(event.key, job.flink.shards) for event in events} == {shard}
        assert [e.id for e in events] == sorted((e.id for e in events), key=lambda i: int(i[8:]))


@pytest.mark.parametrize(("length", "sizes"), [(0, []), (3, [3]), (4, [3, 1]), (6, [3, 3])])
def test_a_long_chunk_is_cut(length: int, sizes: list[int]) -> None:
    block = read(make(id=None, key="k"), stretch(*[told(text="x", k=1)] * length))
    events = next(iter(block.chunks.values()), [])
    parts = cut(events, 3)
    assert [len(part) for part in parts] == sizes
    assert [event for part in parts for event in part] == events

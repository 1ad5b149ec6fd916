from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_job.demo.posts import LABELS
from flink_job.evaluation import Reference
from flink_job.settings import JobSettings, SettingsError
from flink_job.sources.blocks import Block, Blocks, survey
from flink_job.sources.parsing import shard_of
from operators.records import Event

Make = Callable[..., JobSettings]


def line(number: int, **changes: Any) -> str:
    post = {"id": number, "text": f"t{number}", "author": f"a{number % 7}", "expert": "ok"}
    return json.dumps(post | changes)


def job_on(folder: Path, shards: int = 4, **source: Any) -> JobSettings:
    return JobSettings.model_validate(
        {
            "task": {"name": "t", "labels": LABELS, "prompt": "p"},
            "source": {"path": folder, "fields": {"key": "author"}, **source},
            "sink": {"path": folder / "out"},
            "expert": {"kind": "recorded", "column": "expert"},
            "budget": {"calls": 1},
            "flink": {"shards": shards},
        }
    )


def write_files(folder: Path, sizes: Sequence[int]) -> None:
    """Files of so many lines, gzipped or not, in which each fifth line is no event."""
    for old in folder.glob("*.jsonl*"):
        old.unlink()
    number = 0
    for index, size in enumerate(sizes):
        numbers = range(number, number + size)
        lines = [line(n) if n % 5 else f"broken {n}" for n in numbers]
        data = "\n".join(lines).encode()
        if index % 2:
            (folder / f"{index}.jsonl.gz").write_bytes(gzip.compress(data))
        else:
            (folder / f"{index}.jsonl").write_bytes(data)
        number += size


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    block=st.integers(1, 15),
    limit=st.none() | st.integers(1, 30),
    order=st.lists(st.integers(0, 12), max_size=10),
    shards=st.integers(1, 5),
)
def test_a_block_is_the_same_however_one_came_to_it(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    block: int,
    limit: int | None,
    order: list[int],
    shards: int,
) -> None:
    folder = tmp_path_factory.getbasetemp() / "blocks"
    folder.mkdir(exist_ok=True)
    write_files(folder, sizes)
    job = job_on(folder, shards, block=block, limit=limit)

    records = min(sum(sizes), limit or sum(sizes))
    found = survey(job)
    assert found.records == records
    assert found.dead == len(range(0, records, 5))
    ids = [str(n) for n in range(records) if n % 5]
    assert [reference.id for reference in found.references] == ids

    needed = -(-records // block)
    reader = Blocks(job)
    in_order = [reader.read(number) for number in range(needed)]
    for number, read in enumerate(in_order):
        begin, end = number * block, min(records, number * block + block)
        assert read.events + len(read.dead) == end - begin
        assert sorted(ids_of(read), key=int) == [str(n) for n in range(begin, end) if n % 5]
        assert [dead.raw for dead in read.dead] == [
            f"broken {n}" for n in range(begin, end) if n % 5 == 0
        ]
        check_shards(read, shards)
    jumping = Blocks(job)
    for number in order:
        expected = in_order[number] if number < needed else Block({}, [])
        assert jumping.read(number) == expected


def ids_of(block: Block) -> list[str]:
    return [event.id for chunk in block.chunks.values() for event in chunk]


def check_shards(block: Block, shards: int) -> None:
    for shard, chunk in block.chunks.items():
        assert chunk
        assert {shard_of(event.key, shards) for event in chunk} == {shard}
        numbers = [int(event.id) for event in chunk]
        assert numbers == sorted(numbers)


def test_what_follows_a_key_stays_behind_it_over_blocks_and_files(tmp_path: Path) -> None:
    write_files(tmp_path, [40, 40])
    blocks = Blocks(job_on(tmp_path, block=16))
    seen: dict[str, list[Event]] = {}
    for number in range(5):
        for chunk in blocks.read(number).chunks.values():
            for event in chunk:
                seen.setdefault(event.key, []).append(event)
    assert len(seen) == 7
    for events in seen.values():
        assert [int(e.id) for e in events] == sorted(int(e.id) for e in events)


def test_a_block_behind_the_end_is_empty(tmp_path: Path) -> None:
    write_files(tmp_path, [3])
    blocks = Blocks(job_on(tmp_path, block=2))
    assert blocks.read(9) == blocks.read(10) == Block({}, [])
    assert len(blocks.read(0).dead) == 1


def survey_of(folder: Path, lines: Sequence[str], **fields: str) -> list[Reference]:
    (folder / "posts.jsonl").write_text("\n".join(lines))
    return survey(job_on(folder, fields={"key": "author", **fields})).references


def test_a_survey_knows_gold_labels_and_the_recorded_answers(tmp_path: Path) -> None:
    lines = [line(1, label="abusive", expert="ok"), line(2, label="", expert=None), line(3)]
    assert survey_of(tmp_path, [line(1, label="ok")]) == [Reference("1", None, "ok")]
    lines[2] = line(3, label=None, expert="")
    assert survey_of(tmp_path, lines, label="label") == [
        Reference("1", "abusive", "ok"),
        Reference("2"),
        Reference("3"),
    ]


def test_another_column_may_hold_the_answers_for_the_report(tmp_path: Path) -> None:
    lines = [line(1, expert="ok", judge="abusive")]
    assert survey_of(tmp_path, lines, expert="judge") == [Reference("1", None, "abusive")]


def test_answers_are_read_as_the_expert_reads_them(tmp_path: Path) -> None:
    answers = [" Abusive.", "ok", "I would say ok", 7]
    lines = [line(n, expert=answer) for n, answer in enumerate(answers)]
    known = [reference.expert for reference in survey_of(tmp_path, lines)]
    assert known == ["abusive", "ok", "I would say ok", "7"]


def test_a_gold_label_that_is_none_is_found_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        survey_of(tmp_path, [line(1, label="ok"), line(2, label="\ud800rude")], label="label")
    message = str(caught.value)
    assert "source.fields.label: '\\ud800rude' in posts.jsonl, line 2," in message
    assert "['ok', 'abusive']" in message
    assert "Operator action: correct" in message


def test_a_csv_without_the_recorded_answers(tmp_path: Path) -> None:
    (tmp_path / "posts.csv").write_text("id,text,author\n1,a,b\n")
    with pytest.raises(SettingsError, match="has no column 'expert'; its columns are id,text"):
        survey(job_on(tmp_path))


@pytest.mark.parametrize("data", [b"", b"\n\n", b"broken"])
def test_a_source_without_an_event(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "posts.jsonl").write_bytes(data)
    found = survey(job_on(tmp_path))
    assert (found.events, found.records, found.dead) == (0, bool(data.strip()), found.records)

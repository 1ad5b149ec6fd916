from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_job.settings import JobSettings
from flink_job.sources.folder_reader import FolderReader
from flink_job.sources.parsing import shard_of
from operators.flink.types import DEAD_LETTERS
from operators.records import DeadLetter, Event, unpack
from tests.flink_job.sources.fakes import EagerLedger, FakeConnection, FakeContext, FakeState

SHARDS = 3


def reader_on(
    folder: Path, state: FakeState, block: int = 4, ledger: EagerLedger | None = None
) -> FolderReader:
    job = JobSettings.model_validate(
        {
            "task": {"name": "t", "labels": ["a", "b"], "prompt": "p"},
            "source": {"path": folder, "watch": True, "block": block},
            "sink": {"path": folder / "out"},
            "expert": {"kind": "openai", "model": "m"},
            "budget": {"share": 0.1},
            "flink": {"shards": SHARDS},
        }
    )
    reader = FolderReader(job, FakeConnection(ledger))  # type: ignore[arg-type]  # a fake
    reader.open(FakeContext(state))
    return reader


def tick(reader: FolderReader) -> tuple[list[Event], list[DeadLetter]]:
    events: list[Event] = []
    dead: list[DeadLetter] = []
    for record in reader.process_element(0, None):
        if record[0] is DEAD_LETTERS:
            dead += [msgspec.json.decode(line, type=DeadLetter) for line in record[1].splitlines()]
        else:
            shard, data = record
            chunk = unpack(data, Event)
            assert {shard_of(event.key, SHARDS) for event in chunk} == {shard}
            events += chunk
    return events, dead


def write(folder: Path, name: str, ids: list[int]) -> None:
    lines = "\n".join(json.dumps({"id": i, "text": f"text {i}"}) for i in ids)
    (folder / f"_{name}").write_text(lines)
    (folder / f"_{name}").rename(folder / name)


def ids_of(events: list[Event]) -> list[int]:
    return sorted(int(event.id) for event in events)


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.one_of(st.sampled_from(["tick", "restart"]), st.integers(0, 9)), min_size=1, max_size=25
    ),
    block=st.integers(1, 6),
)
def test_each_record_is_read_once_over_new_files_and_restarts(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str | int], block: int
) -> None:
    folder = tmp_path_factory.mktemp("watched")
    state = FakeState()
    reader = reader_on(folder, state, block)
    events: list[Event] = []
    written = 0
    for index, step in enumerate(steps):
        if step == "tick":
            read, dead = tick(reader)
            assert len(read) <= block
            assert not dead
            events += read
        elif step == "restart":
            reader = reader_on(folder, state, block)
        else:
            # Names that sort before, behind and between those that are there.
            name = f"{index * 37 % 100:03}.jsonl"
            write(folder, name, list(range(written, written + int(step))))
            written += int(step)
    for _ in range(written + len(steps)):  # a tick a block, and one for the end of each file
        events += tick(reader)[0]
    assert ids_of(events) == list(range(written))


def test_files_go_by_their_names_and_one_is_finished_before_the_next(tmp_path: Path) -> None:
    reader = reader_on(tmp_path, FakeState(), block=2)
    assert tick(reader) == ([], [])
    write(tmp_path, "b.jsonl", [1, 2, 3])
    assert ids_of(tick(reader)[0]) == [1, 2]
    write(tmp_path, "a.jsonl", [4])
    assert [ids_of(tick(reader)[0]) for _ in range(3)] == [[3], [4], []]


def test_a_failure_after_a_checkpoint_reads_the_same_again(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", list(range(10)))
    state = FakeState()
    reader = reader_on(tmp_path, state)
    tick(reader)
    checkpoint = state.kept
    lost = tick(reader)
    state.kept = checkpoint
    assert tick(reader_on(tmp_path, state)) == lost


def test_nothing_is_read_while_the_loop_lags(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", [1])
    keeps_up = [False, False, True]
    reader = reader_on(tmp_path, FakeState(), ledger=EagerLedger(lambda: keeps_up.pop(0)))
    assert [ids_of(tick(reader)[0]) for _ in range(3)] == [[], [], [1]]


def test_bad_lines_are_dead_letters_beside_the_events(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"id": 1, "text": "a"}\n[]\n\xff\n{"id": 2, "text": "b"}')
    events, dead = tick(reader_on(tmp_path, FakeState()))
    assert ids_of(events) == [1, 2]
    assert [(letter.source, letter.line) for letter in dead] == [("a.jsonl", 2), ("a.jsonl", 3)]


def test_of_a_damaged_file_all_is_kept_that_can_be_read(tmp_path: Path) -> None:
    lines = [json.dumps({"id": i, "text": os.urandom(3000).hex()}) for i in range(40)]
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode())[:-30_000])
    write(tmp_path, "b.jsonl", [100])
    reader = reader_on(tmp_path, FakeState(), block=16)
    found = [tick(reader) for _ in range(5)]
    ids = ids_of([event for events, _ in found for event in events])
    good = len(ids) - 1
    assert 16 < good < 40
    assert ids == [*range(good), 100]
    (letter,) = [letter for _, dead in found for letter in dead]
    assert (letter.source, letter.line) == ("a.jsonl.gz", good)
    assert "no whole gzip file" in letter.error


@pytest.mark.parametrize("header", [b"id,words", b"\xff\xfei\0d\0", b""])
def test_a_file_without_a_column_is_left_out_with_the_reason(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(header + b"\n1,a\n")
    write(tmp_path, "b.jsonl", [1])
    reader = reader_on(tmp_path, FakeState())
    _, (letter,) = tick(reader)
    assert letter.source == "a.csv"
    assert "has no column" in letter.error
    assert ids_of(tick(reader)[0]) == [1]


def test_names_that_no_record_can_hold_are_left_alone(tmp_path: Path) -> None:
    for name in (os.fsdecode(b"caf\xe9.jsonl"), ".a.jsonl", "_b.jsonl", "c.txt"):
        (tmp_path / name).write_text('{"id": 1, "text": "a"}')
    assert tick(reader_on(tmp_path, FakeState())) == ([], [])


def test_state_is_small_and_plain(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", list(range(6)))
    state = FakeState()
    reader = reader_on(tmp_path, state)
    tick(reader)
    assert decoded(state) == {"version": 1, "done": [], "current": "a.jsonl", "row": 4}
    tick(reader)
    assert decoded(state)["done"] == ["a.jsonl"]


def decoded(state: FakeState) -> dict[str, Any]:
    assert state.kept is not None
    content: dict[str, Any] = msgspec.msgpack.decode(state.kept)
    return content


def test_what_is_remembered_of_files_that_are_gone_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flink_job.sources.folder_reader._REMEMBERED", 5)
    state = FakeState()
    reader = reader_on(tmp_path, state)
    seen: list[Event] = []
    for number in range(30):
        name = f"{number:02}.jsonl"
        write(tmp_path, name, [number])
        seen += tick(reader)[0]
        if number != 3:  # that one stays
            (tmp_path / name).unlink()
        assert not any(tick(reader))
        assert state.kept is not None
        assert len(msgspec.msgpack.decode(state.kept)["done"]) <= 7
    assert ids_of(seen) == list(range(30))

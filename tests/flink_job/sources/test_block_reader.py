from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from flink_job.settings import JobSettings
from flink_job.sources import block_reader
from flink_job.sources.block_reader import BlockReader, numbers
from flink_job.sources.blocks import Blocks
from operators.flink.types import DEAD_LETTERS, END, TICK
from operators.records import DeadLetter, Event, unpack
from operators.settings import OpenAIExpertSettings
from tests.flink_job.sources.fakes import EagerLedger, FakeConnection

_END = 8


def open_reader(job: JobSettings, ledger: EagerLedger | None = None) -> BlockReader:
    reader = BlockReader(job, FakeConnection(ledger), _END)  # type: ignore[arg-type]  # a fake
    reader.open(None)
    return reader


def test_a_number_becomes_the_chunks_and_dead_letters_of_its_block(
    posts: Path, make_job: Callable[..., JobSettings]
) -> None:
    job = make_job()
    reader, blocks = open_reader(job), Blocks(job)
    for number in (0, 1, 6, 2, 7):  # as after a failure, too
        block = blocks.read(number)
        emitted = list(reader.process_element(number, None))
        letters = [text for tag, text in emitted if tag is DEAD_LETTERS]
        chunks = {shard: unpack(data, Event) for shard, data in emitted if shard in block.chunks}
        assert chunks == block.chunks
        assert len(emitted) == len(letters) + len(chunks)
        assert [
            msgspec.json.decode(line, type=DeadLetter)
            for text in letters
            for line in text.split("\n")
        ] == block.dead


def test_a_block_waits_for_the_loop(
    posts: Path, make_job: Callable[..., JobSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    keeps_up = [False, False, True]
    slept: list[float] = []
    clock: Any = SimpleNamespace(sleep=slept.append, monotonic=lambda: 0.0)
    monkeypatch.setattr(block_reader, "time", clock)
    reader = open_reader(make_job(), EagerLedger(lambda: keeps_up.pop(0)))
    assert list(reader.process_element(0, None))
    assert not keeps_up
    assert len(slept) == 2


def test_the_end_waits_for_the_last_answers_bit_by_bit(
    posts: Path, make_job: Callable[..., JobSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    clock: Any = SimpleNamespace(sleep=sleep, monotonic=lambda: now[0])
    monkeypatch.setattr(block_reader, "time", clock)
    monkeypatch.setenv("KEY", "sk")
    expert = {"kind": "openai", "model": "m", "api_key_env": "KEY", "timeout_s": 5}
    job = make_job(flink={"shards": 2}).model_copy(
        update={"expert": OpenAIExpertSettings.model_validate(expert)}
    )
    end, last = numbers(job, 101)
    assert end == 3
    answered: list[bool] = [False]
    reader = BlockReader(job, FakeConnection(EagerLedger(lambda: answered[0])), end)  # type: ignore[arg-type]  # a fake
    reader.open(None)
    for turn in range(end, last):
        assert list(reader.process_element(turn, None)) == [(0, TICK), (1, TICK)]
    assert now[0] > 3 * (5 + 20)  # as long as an answer can take
    answered[0] = True
    assert list(reader.process_element(end, None)) == []
    assert list(reader.process_element(last, None)) == [(0, END), (1, END)]


def test_the_number_after_the_last_block_ends_every_shard(
    posts: Path, make_job: Callable[..., JobSettings]
) -> None:
    never = EagerLedger(lambda: False)
    emitted = list(open_reader(make_job(flink={"shards": 3}), never).process_element(_END, None))
    assert emitted == [(0, END), (1, END), (2, END)]

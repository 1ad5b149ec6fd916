"""Time in a replay: the stream's own, and a budget by the clock that keeps to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_job.evaluation import read_decisions
from flink_job.replay import replay, run_replay
from flink_job.settings import JobSettings, SettingsError
from flink_job.sources.blocks import Block
from flink_job.virtual_time import VirtualTime
from operators.records import Event
from tests.flink_job.conftest import POSTS

Make = Callable[..., JobSettings]
HOURLY = {"calls": None, "per_hour": 60}
TIMED = {"time": "at", "key": "author", "label": "label"}


@pytest.fixture
def timed(posts: Path) -> Path:
    """The posts, one every ten seconds; every fifth has a time that nobody can read."""
    lines = []
    for number, line in enumerate(posts.read_text(encoding="utf-8").splitlines()[:POSTS]):
        minute, second = divmod(10 * number, 60)
        at = f"2026-01-01T{minute // 60:02}:{minute % 60:02}:{second:02}Z"
        lines.append(json.dumps(json.loads(line) | {"at": at if number % 5 != 4 else "soon"}))
    posts.write_text("\n".join(lines), encoding="utf-8")
    return posts


def test_a_budget_an_hour_is_held_by_the_times_of_the_events(timed: Path, make_job: Make) -> None:
    job = make_job(budget=HOURLY, source={"fields": TIMED})
    made = replay(job, POSTS)
    numbers = sorted(int(d.id.split("-")[1]) for d in made.decisions if d.calls)
    assert 0.8 * 50 <= len(numbers) <= 60  # 50 minutes of 60 an hour
    assert numbers[-1] > 280  # spread over all of them
    assert made.usage.drawn == made.usage.spent == len(numbers)


def test_a_replay_by_the_clock_repeats_itself(timed: Path, make_job: Make) -> None:
    job = make_job(budget=HOURLY, source={"fields": TIMED})
    first, again = replay(job, POSTS), replay(job, POSTS)
    assert [(d.id, d.label, d.reason) for d in first.decisions] == [
        (d.id, d.label, d.reason) for d in again.decisions
    ]


def test_events_without_times_come_at_the_given_rate(posts: Path, make_job: Make) -> None:
    job = make_job(budget=HOURLY)
    slow, fast = replay(job, POSTS, 0.01), replay(job, POSTS, 10.0)
    assert slow.usage.reserved > 200  # 36 an hour: nearly all of them can be asked
    assert fast.usage.reserved <= 6  # half a minute
    outcome = run_replay(job, 0.1)
    assert outcome.evaluation.delivery.complete
    assert 40 <= outcome.evaluation.calls <= 60
    assert len(read_decisions(job.sink.path / "decisions")) == POSTS


def test_a_replay_without_a_clock_says_what_to_do(posts: Path, make_job: Make) -> None:
    job = make_job(budget=HOURLY)
    with pytest.raises(SettingsError, match=r"source\.fields\.time.*--rate"):
        run_replay(job)
    assert not job.sink.path.exists()
    with pytest.raises(SettingsError, match="--rate: this budget does not go by the clock"):
        run_replay(make_job(), 5.0)


def test_a_first_event_without_a_time_says_what_to_do(posts: Path, make_job: Make) -> None:
    job = make_job(budget=HOURLY, source={"fields": {"time": "author"}})
    with pytest.raises(SettingsError, match=r"source\.fields\.time: .* is no time.*ISO 8601"):
        replay(job, POSTS)


@given(
    seconds=st.lists(st.integers(0, 10_000), min_size=1, max_size=40),
    shards=st.lists(st.integers(0, 2), min_size=40, max_size=40),
    cuts=st.integers(1, 10),
)
def test_time_never_goes_back_and_shards_keep_their_order(
    seconds: list[int], shards: list[int], cuts: int
) -> None:
    budget = {"per_hour": 5}
    job = JobSettings.model_validate(
        {
            "task": {"name": "t", "labels": ["a", "b"], "prompt": "Which?"},
            "source": {"path": "x.csv", "fields": {"time": "at"}},
            "sink": {"path": "out"},
            "expert": {"kind": "recorded", "column": "c"},
            "budget": budget,
        }
    )
    now = VirtualTime(job, None)
    events = [
        Event(str(n), "k", "x", "t", f"2026-01-01T{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}")
        for n, s in enumerate(seconds)
    ]
    passed: dict[int, list[str]] = {}
    given_to: dict[int, list[str]] = {}
    before = 0.0
    for begin in range(0, len(events), cuts):
        block = Block({}, [])
        for event in events[begin : begin + cuts]:
            shard = shards[int(event.id)]
            block.chunks.setdefault(shard, []).append(event)
            given_to.setdefault(shard, []).append(event.id)
        for shard, chunk in now.pass_through(block):
            assert now() >= before
            before = now()
            passed.setdefault(shard, []).extend(event.id for event in chunk)
    assert passed == given_to
    assert now() == max(0, max(seconds) - seconds[int(next(iter(events)).id)])

"""The expert in the mini cluster: slow calls hold up nobody, and none is lost with the process."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from flink_job.demo.posts import generate
from flink_job.evaluation import read_decisions
from flink_job.run import Progress, run
from flink_job.settings import JobSettings
from operators.expert.calls import Answered, Calls
from operators.expert.openai_expert import OpenAIExpert
from operators.expert.port import Reply
from operators.records import Event
from operators.settings import BudgetSettings

pytestmark = pytest.mark.flink
Make = Callable[..., JobSettings]
EVENTS = 800


class SlowLLM:
    """Answers nobody until it is told to, and counts who asks."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.asked: Counter[str] = Counter()

    async def ask(self, _: OpenAIExpert, event: Event) -> Reply:
        self.asked[event.id] += 1
        while not self.open.is_set():
            await asyncio.sleep(0.01)
        return Reply("abusive", 10, 1)


@pytest.fixture
def llm(monkeypatch: pytest.MonkeyPatch) -> SlowLLM:
    slow = SlowLLM()
    monkeypatch.setattr(OpenAIExpert, "ask", lambda self, event: slow.ask(self, event))
    monkeypatch.setenv("TEST_LLM_KEY", "sk-not-needed")
    return slow


@pytest.fixture
def job(make_job: Make, posts: object) -> JobSettings:
    return make_job(
        expert={"kind": "openai", "model": "m", "api_key_env": "TEST_LLM_KEY", "timeout_s": 600},
        source={"path": posts, "block": 50, "max_lag": 10_000, "fields": {"key": "author"}},
        flink={"checkpoint_interval_s": 0.2, "parallelism": 2},
    )


def once_each(job: JobSettings) -> bool:
    decisions = read_decisions(job.sink.path / "decisions")
    return Counter(d.id for d in decisions) == Counter(p.id for p in generate(EVENTS, 5))


def test_checkpoints_and_other_events_do_not_wait_for_a_call(
    job: JobSettings, llm: SlowLLM
) -> None:
    committed: list[int] = []

    def look(progress: Progress) -> None:
        folder = job.sink.path / "decisions"
        if progress.usage.seen < EVENTS or not folder.exists():
            return
        committed.append(len(read_decisions(folder)))
        if committed[-1] >= EVENTS - progress.usage.deferred:
            llm.open.set()

    run(job, "slow", look)
    # All that needed no call was committed while not one call had been answered.
    assert 0 < sum(llm.asked.values()) <= 250
    assert committed
    assert once_each(job)


def test_calls_under_way_survive_a_crash(
    job: JobSettings, llm: SlowLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, committed, crashed = Calls.collect, threading.Event(), threading.Event()

    def crash_once(self: Calls, group: str) -> Answered:
        if committed.is_set() and not crashed.is_set():
            crashed.set()
            message = "the machine catches fire"
            raise OSError(message)
        return original(self, group)

    def look(progress: Progress) -> None:
        folder = job.sink.path / "decisions"
        if not folder.exists():
            return
        if progress.usage.seen == EVENTS and read_decisions(folder):
            committed.set()
        if crashed.is_set() and max(llm.asked.values()) > 1:
            llm.open.set()

    monkeypatch.setattr(Calls, "collect", crash_once)
    # What is asked again is paid again: there must be something left to pay it with.
    job = job.model_copy(update={"budget": BudgetSettings(calls=EVENTS, events=2 * EVENTS)})
    run(job, "crash", look)
    assert crashed.is_set()
    assert once_each(job)
    # What was under way is asked again, once.
    assert set(llm.asked.values()) <= {1, 2}

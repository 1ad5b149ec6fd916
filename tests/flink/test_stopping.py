"""A job that is stopped by a signal, and goes on from its savepoint."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from flink_job.connecting import connection
from flink_job.demo.posts import Post, generate
from flink_job.evaluation import read_decisions
from flink_job.outcome import Outcome
from flink_job.run import JobFailed, Progress, Stopped, run
from flink_job.settings import JobSettings, SettingsError
from model_store.ledger import Usage
from operators.core.cascade import Cascade
from operators.core.cascade import Outcome as CascadeOutcome
from operators.records import Event
from tests.flink.stopping import stop_when

pytestmark = pytest.mark.flink
Make = Callable[..., JobSettings]
Silent = Callable[[object], None]
POSTS = list(generate(900, 7))


def drop(folder: Path, name: str, posts: list[Post]) -> None:
    lines = [json.dumps({"id": p.id, "text": p.text, "expert": p.expert}) for p in posts]
    part = folder / f".{name}"
    part.write_text("\n".join(lines), encoding="utf-8")
    part.rename(folder / name)


def stop_at(
    seen: int, number: signal.Signals, *, settled: bool = True
) -> Callable[[Progress], None]:
    """Asks for a stop, once, when so many events are decided, and their verdicts learned."""

    def reached(usage: Usage) -> bool:
        return usage.seen >= seen and (usage.settled == usage.deferred or not settled)

    return stop_when(reached, number)


def released(job: JobSettings) -> list[dict[str, int]]:
    lines = [
        json.loads(line)
        for path in (job.sink.path / "releases").rglob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return sorted(lines, key=lambda line: int(line["release"][1:7]))


def test_a_watched_job_goes_on_from_its_savepoint(make_job: Make, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    job = make_job(
        source={"path": folder, "watch": True, "block": 50},
        budget={"share": 0.2, "burst": 100},
        sink={"path": tmp_path / "out of 100%20"},  # no name may be taken apart
    )
    drop(folder, "a.jsonl", POSTS[:500])
    first = run(job, "watched", stop_at(500, signal.SIGINT))
    assert isinstance(first, Stopped)
    assert first.savepoint is not None
    ledger = connection(job, "watched").ledger()
    before = ledger.usage()
    assert 0 < before.reserved <= 120
    learned = released(job)

    drop(folder, "b.jsonl", POSTS[500:])
    second = run(job, "watched", stop_at(900, signal.SIGTERM), from_savepoint=first.savepoint)
    assert isinstance(second, Stopped)
    assert second.savepoint is not None
    assert len(list((job.sink.path / "savepoints").iterdir())) == 2

    decisions = read_decisions(job.sink.path / "decisions")
    assert Counter(d.id for d in decisions) == Counter(p.id for p in POSTS)
    after = ledger.usage()
    assert (after.seen, after.seen_before) == (900, 0)
    assert before.reserved < after.reserved <= 200
    assert after.settled == after.deferred > before.deferred
    # The trainer goes on with what it knew, and on the release that it had published.
    later = released(job)[len(learned) :]
    assert later
    assert all(line["annotations"] > learned[-1]["annotations"] for line in later)
    store = connection(job, "watched").store()
    manifests = {m.release: m for m in store.releases("moderation")}
    assert manifests[str(later[0]["release"])].parent == learned[-1]["release"]


def test_a_job_that_was_stopped_before_its_first_event_goes_on(
    make_job: Make, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    watched = {"path": folder, "watch": True, "block": 50}
    job = make_job(source=watched, budget={"share": 0.2, "burst": 100})
    first = run(job, "early", stop_at(0, signal.SIGINT))
    assert isinstance(first, Stopped)
    assert first.savepoint is not None
    drop(folder, "a.jsonl", POSTS[:100])
    second = run(job, "early", stop_at(100, signal.SIGINT), from_savepoint=first.savepoint)
    assert isinstance(second, Stopped)
    decisions = read_decisions(job.sink.path / "decisions")
    assert Counter(d.id for d in decisions) == Counter(p.id for p in POSTS[:100])


def test_a_bounded_job_commits_what_it_holds_and_goes_on(make_job: Make, silent: Silent) -> None:
    base = make_job()
    job = make_job(source=base.source.model_dump() | {"block": 10, "max_lag": 0})
    first = run(job, "bounded", stop_at(100, signal.SIGTERM, settled=False))
    assert isinstance(first, Stopped)
    seen = connection(job, "bounded").ledger().usage().seen
    assert 100 <= seen < 800
    # All that is decided is committed; who waits for the expert is in the savepoint.
    assert 0 < len(read_decisions(job.sink.path / "decisions")) <= seen
    second = run(job, "bounded", silent, from_savepoint=first.savepoint)
    assert isinstance(second, Outcome)
    assert second.evaluation.delivery.complete
    assert second.evaluation.calls <= 250
    assert second.evaluation.dead_letters == 3


def test_a_job_that_was_given_up_goes_on_from_its_last_checkpoint(
    make_job: Make, silent: Silent
) -> None:
    base = make_job()
    source = base.source.model_dump() | {"block": 10}
    job = make_job(source=source, flink={"restarts": 0, "checkpoint_interval_s": 0.1})
    checkpoints = job.sink.path / "checkpoints"
    decide = Cascade.decide

    def fail(self: Cascade, shard: str, events: Sequence[Event]) -> CascadeOutcome:
        if any(checkpoints.glob("*/chk-*/_metadata")):
            message = "the disk is gone"
            raise OSError(message)
        return decide(self, shard, events)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cascade, "decide", fail)
        with pytest.raises(JobFailed, match="the disk is gone"):
            run(job, "given-up", silent)
    (last,) = checkpoints.glob("*/chk-*")
    outcome = run(job, "given-up", silent, from_savepoint=str(last))
    assert isinstance(outcome, Outcome)
    assert outcome.evaluation.delivery.complete
    assert outcome.evaluation.calls <= 250


def test_a_run_that_the_store_does_not_know_is_refused(make_job: Make, silent: Silent) -> None:
    job = make_job()
    savepoint = job.sink.path / "savepoints" / "savepoint-1"
    savepoint.mkdir(parents=True)
    (savepoint / "_metadata").touch()
    with pytest.raises(SettingsError, match="knows nothing of a run 'another'"):
        run(job, "another", silent, from_savepoint=str(savepoint))

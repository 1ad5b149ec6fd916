from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from flink_job.evaluation import Reference
from flink_job.outcome import Outcome, conclude
from flink_job.settings import JobSettings
from flink_job.sources.blocks import Survey
from operators.records import Decision, Reason, to_json_lines

Make = Callable[..., JobSettings]
FOUND = Survey(3, [Reference("a", "ok", "ok"), Reference("b", "abusive", None)], 1)


def decided(name: str, level: str) -> Decision:
    return Decision(
        name, "k", "moderation", "", "ok", (1.0, 0.0), level, None, Reason.WARMUP, 1.0, calls=1
    )


def ended(job: JobSettings, found: Survey = FOUND, title: str = "a run") -> Outcome:
    return conclude(job, found, events_in=found.events, calls=1, wall_s=2.0, title=title)


def test_without_the_ledger_the_decisions_are_counted(make_job: Make) -> None:
    job = make_job()
    folder = job.sink.path / "decisions"
    folder.mkdir(parents=True)
    (folder / "part.jsonl").write_text(to_json_lines([decided("a", "expert")]))
    outcome = conclude(job, FOUND, events_in=None, calls=None, wall_s=1.0, title="t")
    assert outcome.evaluation.delivery.events_in == 1
    assert outcome.evaluation.calls == decided("a", "expert").calls


def test_what_was_written_is_evaluated_and_summed_up(make_job: Make) -> None:
    job = make_job(store={"kind": "redis", "url_env": "WHERE_REDIS_IS"})
    folder = job.sink.path / "decisions"
    folder.mkdir(parents=True)
    (folder / "part.jsonl").write_text(to_json_lines([decided("a", "expert")]))
    outcome = ended(job, title="<script>a run")
    assert outcome.evaluation.delivery.missing_ids == ("b",)
    assert outcome.evaluation.dead_letters == 1
    assert [share.name for share in outcome.evaluation.by_level] == ["linear", "expert"]
    assert outcome.report == job.sink.path / "report.html"
    summary = json.loads((job.sink.path / "summary.json").read_text())
    assert summary["delivery"]["missing_ids"] == ["b"]
    assert summary["calls"] == 1
    page = outcome.report.read_text()
    assert "&lt;script&gt;a run" in page
    assert "WHERE_REDIS_IS" in page  # the settings stand there


def test_where_nothing_was_decided_there_is_an_outcome_as_well(make_job: Make) -> None:
    job = make_job()
    job.sink.path.mkdir()
    outcome = ended(job, Survey(0, [], 0))
    assert outcome.evaluation.delivery.complete
    assert outcome.report.exists()


def test_other_languages_are_readable(make_job: Make, tmp_path: Path) -> None:
    job = make_job(task={"prompt": "这是辱骂吗"})
    job.sink.path.mkdir()
    assert "这是辱骂吗" in ended(job, Survey(0, [], 0)).report.read_text(encoding="utf-8")


def test_without_the_counts_of_a_store_the_decisions_are_counted(make_job: Make) -> None:
    job = make_job()
    folder = job.sink.path / "decisions"
    folder.mkdir(parents=True)
    (folder / "part.jsonl").write_text(
        to_json_lines([decided("a", "expert"), decided("b", "linear")])
    )
    found = Survey(2, list(FOUND.references), 0)
    evaluation = conclude(
        job, found, events_in=None, calls=None, wall_s=2.0, title="a run"
    ).evaluation
    assert evaluation.delivery.complete
    assert evaluation.delivery.events_in == evaluation.calls == 2

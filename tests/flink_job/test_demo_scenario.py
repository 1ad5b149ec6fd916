from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from flink_job.demo import scenario
from flink_job.settings import SettingsError, load_job
from flink_job.sources.blocks import survey
from operators.settings import OpenAIExpertSettings


def test_the_job_that_is_written_loads_and_finds_its_posts(tmp_path: Path) -> None:
    job_file = scenario.prepare(tmp_path / "demo", 200, 3)
    scenario.write_job(job_file, "http://127.0.0.1:1/v1", 200)
    job = load_job(job_file)
    found = survey(job)
    assert (found.events, found.dead) == (200, 1)
    assert all(reference.label and reference.expert for reference in found.references)
    assert job.budget is not None
    assert job.budget.calls == 40
    assert job.recorded_column is None
    assert isinstance(job.expert, OpenAIExpertSettings)
    assert job.expert.timeout_s < scenario.HANG_S  # a call that hangs must be given up
    assert scenario.API_KEY not in job_file.read_text()


def test_an_earlier_demo_goes(tmp_path: Path) -> None:
    job_file = scenario.prepare(tmp_path, 20, 0)
    scenario.write_job(job_file, "http://127.0.0.1:1/v1", 20)
    for name in ("decisions", "dead_letters", "releases", "savepoints"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").touch()
    for name in ("report.html", "summary.json"):
        (tmp_path / name).touch()
    scenario.prepare(tmp_path, 30, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["posts.jsonl"]
    lines = (tmp_path / "posts.jsonl").read_text().splitlines()
    assert len(lines) == 31
    assert [is_json(line) for line in lines] == [True] * 30 + [False]


def is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "names",
    [
        ["thesis.tex"],
        ["posts.jsonl", "thesis.tex"],
        ["decisions", "summary.json"],  # the sink of a real job
        ["job.yaml"],
    ],
)
def test_what_no_demo_wrote_stays(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("precious")
    with pytest.raises(SettingsError, match=r"holds '.*', which is not the demo's. Operator"):
        scenario.prepare(tmp_path, 20, 0)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        names, "precious"
    )


def test_the_key_is_there_for_as_long_as_it_is_needed(tmp_path: Path) -> None:
    before = dict(os.environ)
    with scenario.key_in_environment():
        assert scenario.API_KEY in set(os.environ.values()) - set(before.values())
    with pytest.raises(RuntimeError, match="stop"), scenario.key_in_environment():
        raise RuntimeError("stop")
    assert dict(os.environ) == before

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flink_job import checking
from flink_job.cli import app, main
from flink_job.evaluation import Reference, evaluate
from flink_job.outcome import Outcome
from flink_job.run import JobFailed, Stopped
from flink_job.settings import JobSettings
from operators.settings import TaskSettings
from tests.flink_job.conftest import POSTS
from tests.flink_job.llm import KEY, KEY_ENV, endpoint, expert

Content = dict[str, Any]
Write = Callable[[Any], Path]
URL_ENV = "TEST_CASCADE_REDIS_URL"
USER_ERROR = 2


def cli(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def refused(*arguments: str | Path) -> str:
    """What the command says on its way out; line breaks are the terminal's."""
    result = cli(*arguments)
    assert result.exit_code == USER_ERROR
    assert "error:" not in result.stdout
    return result.output


def test_the_schema_is_one() -> None:
    result = cli("schema")
    assert result.exit_code == 0
    schema = json.loads(result.output)
    assert schema["type"] == "object"
    assert {"task", "source", "sink", "expert"} <= set(schema["required"])
    assert schema["additionalProperties"] is False
    fields = [part for part in schema["$defs"].values() if part.get("type") == "object"]
    assert all(part["additionalProperties"] is False for part in fields)
    references = set(re.findall(r'"#/\$defs/(\w+)"', result.output))
    assert references == set(schema["$defs"])
    assert (
        "for the report alone"
        in schema["$defs"]["FieldSettings"]["properties"]["label"]["description"]
    )


def test_help_names_every_command() -> None:
    output = cli("--help").output
    for command in ("run", "replay", "check", "schema", "releases", "demo"):
        assert command in output


@pytest.mark.parametrize("command", ["run", "replay", "check"])
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda content: content["source"].update(block="x"), "source.block: "),
        (lambda content: content.pop("sink"), "sink: is required"),
        (lambda content: content.update(api_key="sk-hunter2"), "api_key: there is no such setting"),
        (
            lambda content: content.update(store={"kind": "redis", "url": "redis://:hunter2@h"}),
            "holds a password",
        ),
    ],
)
def test_wrong_settings(
    content: Content, write_job: Write, command: str, spoil: Callable[[Content], Any], says: str
) -> None:
    spoil(content)
    output = refused(command, write_job(content))
    assert "error:" in output
    assert says in output
    assert "hunter2" not in output


@pytest.mark.parametrize("command", ["run", "replay", "check"])
def test_a_job_file_that_can_not_be_read(tmp_path: Path, command: str) -> None:
    assert "No such file" in refused(command, tmp_path / "none.yaml")
    assert "directory" in refused(command, tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "can not be read as YAML" in refused(command, tmp_path / "binary.yaml")


@pytest.mark.parametrize("command", ["run", "replay"])
@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("posts.csv", None, "there is no file or folder"),
        ("posts.txt", b"a", "source.format: posts.txt tells nothing by its ending"),
        ("posts.csv", b"id,txt\n1,a", "source.fields: posts.csv has no column 'text'"),
        ("posts.csv", b"\xffd,[red]txt[/]\n1,a", r"columns are \xffd,[red]txt[/]"),
        ("posts.csv.gz", b"no gzip", "is no whole gzip file"),
        (
            "posts.jsonl",
            b'{"id": 1, "author": 2, "text": 3, "label": "rude", "expert": "ok"}',
            "source.fields.label: 'rude' in posts.jsonl, line 1, is none",
        ),
    ],
)
def test_a_source_that_can_not_be_read(
    tmp_path: Path,
    content: Content,
    write_job: Write,
    command: str,
    name: str,
    data: bytes | None,
    says: str,
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    content["source"]["path"] = name
    assert says in refused(command, write_job(content))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["run", "replay"])
def test_an_earlier_run_is_not_overwritten(
    posts: Path, tmp_path: Path, content: Content, write_job: Write, command: str
) -> None:
    (tmp_path / "out" / "decisions").mkdir(parents=True)
    assert "holds an earlier run (decisions)" in refused(command, write_job(content))


def test_a_replay_shows_its_outcome(posts: Path, content: Content, write_job: Write) -> None:
    result = cli("replay", write_job(content))
    assert result.exit_code == 0
    assert "exactly one decision each" in result.output
    match = re.search(r"report: file://(\S+)", result.output)
    assert match
    assert "moderation: replay" in Path(match[1]).read_text()


def test_a_replay_by_the_clock(posts: Path, content: Content, write_job: Write) -> None:
    content["budget"] = {"per_hour": 60}
    job = write_job(content)
    assert "or give `--rate`" in refused("replay", job)
    result = cli("replay", job, "--rate", "0.1")
    assert result.exit_code == 0
    assert "exactly one decision each" in result.output


def test_a_replay_without_the_key(posts: Path, content: Content, write_job: Write) -> None:
    content["expert"] = expert("http://127.0.0.1:1/v1")
    output = refused("replay", write_job(content))
    assert f"expert.api_key_env: the environment variable {KEY_ENV} is not set" in output


def test_a_frozen_replay_on_an_embedded_store(
    posts: Path, content: Content, write_job: Write
) -> None:
    content["learning"] = {"frozen": True}
    output = refused("replay", write_job(content))
    assert "learning.frozen: an embedded store begins empty" in output


@pytest.mark.redis
def test_secrets_are_shown_and_written_nowhere(
    posts: Path,
    tmp_path: Path,
    content: Content,
    write_job: Write,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    password = redis_url.split("@")[0].rsplit(":", 1)[1]
    monkeypatch.setattr(checking, "ensure_java", lambda: None)
    monkeypatch.setenv(KEY_ENV, KEY)
    monkeypatch.setenv(URL_ENV, redis_url)
    content["store"] = {"kind": "redis", "url_env": URL_ENV}
    with endpoint(POSTS, failure_rate=0.1) as llm:
        content["expert"] = expert(llm.base_url)
        job = write_job(content)
        with caplog.at_level("DEBUG"):
            shown = [cli("check", job), cli("replay", job), cli("replay", job), cli("schema")]
    assert [result.exit_code for result in shown] == [0, 0, USER_ERROR, 0]
    written = [path.read_text() for path in (tmp_path / "out").rglob("*.*")]
    assert any("FLINK_CASCADE" in text or URL_ENV in text for text in written)
    for text in [*written, *(result.output for result in shown), caplog.text]:
        assert KEY not in text
        assert password not in text


def finished(*decided: str) -> Callable[..., Outcome]:
    evaluation = evaluate(
        [Reference(name) for name in decided],
        [],
        TaskSettings(name="t", labels=("a", "b"), prompt="p"),
        ["linear", "expert"],
        calls=0,
        events_in=len(decided),
        dead_letters=0,
        wall_s=1.0,
    )
    return lambda *_, **__: Outcome(evaluation, Path("report.html"))


def test_an_event_without_a_decision_is_an_error(
    content: Content, write_job: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "run_job", finished("lost"))
    result = cli("run", write_job(content))
    assert result.exit_code == 1
    assert "some event has no decision, or more than one" in result.output
    monkeypatch.setattr(main, "run_job", finished())
    assert cli("run", write_job(content)).exit_code == 0


def test_a_job_that_flink_gave_up(
    content: Content, write_job: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(*_: object, **__: object) -> None:
        raise JobFailed("java.lang.Exception: [bold]disk full[/nonsense]")

    monkeypatch.setattr(main, "run_job", failed)
    output = refused("run", write_job(content))
    assert "error: java.lang.Exception: [bold]disk full[/nonsense]" in output


def test_a_mistake_of_the_program_is_not_dressed_up(
    content: Content, write_job: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(main, "run_job", broken)
    result = CliRunner().invoke(app, ["run", str(write_job(content))])
    assert isinstance(result.exception, ValueError)


def test_runs_are_named_by_time_or_by_the_user(
    content: Content, write_job: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []

    def note(job: JobSettings, run_id: str, *_: object, **__: object) -> Stopped:
        names.append(run_id)
        return Stopped("file:/s")

    monkeypatch.setattr(main, "run_job", note)
    for arguments in ([], [], ["--cascade-run-id", "again"]):
        cli("run", write_job(content), *arguments)
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}", names[0])
    assert len(set(names)) == 3
    assert names[2] == "again"


@pytest.mark.parametrize("name", ["a/b", "..", "x" * 100, "{a}:b"])
def test_a_run_that_can_have_no_ledger_does_not_start(
    content: Content, write_job: Write, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(main, "run_job", lambda *_: pytest.fail("it started"))
    output = refused("run", write_job(content), "--cascade-run-id", name)
    assert f"--cascade-run-id: {name!r} is no name. Operator action: use letters" in output


@pytest.mark.redis
def test_a_check_that_is_good(
    posts: Path, content: Content, write_job: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "ensure_java", lambda: None)
    result = cli("check", write_job(content))
    assert result.exit_code == 0
    assert len(re.findall(r"^ok ", result.output, re.MULTILINE)) == 5
    assert "300 events, 1 dead letters" in result.output


def test_a_check_that_is_bad(
    content: Content, write_job: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "ensure_java", lambda: None)
    content["store"] = {"kind": "redis", "url_env": URL_ENV}
    output = refused("check", write_job(content))
    assert "bad  source: source.path: there is no file or folder" in output
    assert f"bad  store: store.url: not given, and the environment variable {URL_ENV}" in output
    assert "ok   expert:" in output


def test_no_command_starts_a_jvm_or_loads_pyflink_before_it_must() -> None:
    code = "import sys, flink_job.cli; sys.exit('pyflink' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(main.__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)  # noqa: S603  # a literal

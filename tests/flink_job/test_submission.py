"""Sending a job, with a script in place of Flink's client."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flink_job import submission
from flink_job.job import main, require_shared
from flink_job.jobmanager import JobManagerError, Overview
from flink_job.settings import JobSettings, SettingsError
from flink_job.submission import Submission, SubmissionFailed, flink_home, pack_code, submit

Make = Callable[..., JobSettings]
Write = Callable[[Any], Path]
ID = "0123456789abcdef0123456789abcdef"
STORE = {"kind": "redis", "url": "redis://127.0.0.1:1"}


class Cluster:
    """A cluster that is there."""

    address, dashboard = "h:1", "http://h:1"

    def __init__(self, address: str) -> None:
        assert address == "h:1"

    def overview(self) -> Overview:
        return Overview("2.3.0", 1, 1, 1)


class NoCluster(Cluster):
    """A cluster that is not."""

    def overview(self) -> Overview:
        message = "not there"
        raise JobManagerError(message)


@pytest.fixture
def flink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], Path]:
    """Puts a script in place of Flink's client that keeps its arguments, speaks, and ends."""
    monkeypatch.setattr(submission, "JobManager", Cluster)
    monkeypatch.setenv("JAVA_HOME", "")
    monkeypatch.setattr(submission, "ensure_java", lambda: None)
    home = tmp_path / "flink"
    (home / "bin").mkdir(parents=True)
    monkeypatch.setenv("FLINK_HOME", str(home))

    def put(says: str, status: int) -> Path:
        client = home / "bin" / "flink"
        kept = tmp_path / "arguments"
        client.write_text(
            f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{kept}\ncat <<'END'\n{says}\nEND\nexit {status}\n"
        )
        client.chmod(0o755)
        return kept

    return put


@pytest.fixture
def job_file(content: dict[str, Any], posts: Path, write_job: Write) -> Path:
    return write_job({**content, "store": STORE})


def test_it_runs_flinks_client_and_tells_the_job(
    flink: Callable[[str, int], Path], job_file: Path
) -> None:
    kept = flink(f"Job has been submitted with JobID {ID}", 0)
    sent = submit(job_file, "r1", "h:1", python="/venv/bin/python")
    assert sent == Submission(ID, f"http://h:1/#/job/running/{ID}/overview")
    arguments = kept.read_text().splitlines()
    assert arguments[:4] == ["run", "--detached", "--jobmanager", "h:1"]
    given = dict(zip(arguments[4::2], arguments[5::2], strict=True))
    assert given["--pyExecutable"] == "/venv/bin/python"
    assert given["--pyClientExecutable"] == sys.executable
    assert Path(given["--python"]).name == "job.py"
    assert (given["--cascade-job"], given["--cascade-run-id"]) == (str(job_file), "r1")
    assert "--fromSavepoint" not in given


def test_it_hands_over_the_savepoint(
    flink: Callable[[str, int], Path], job_file: Path, tmp_path: Path
) -> None:
    kept = flink(f"Job has been submitted with JobID {ID}", 0)
    (tmp_path / "sp").mkdir()
    (tmp_path / "sp" / "_metadata").touch()
    submit(job_file, "r1", "h:1", from_savepoint=str(tmp_path / "sp"))
    assert (tmp_path / "sp").as_uri() in kept.read_text().splitlines()
    with pytest.raises(SettingsError, match="no savepoint in"):
        submit(job_file, "r1", "h:1", from_savepoint=str(tmp_path))


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ("a warning\nerror: sink.path: there is one\nTraceback\nCaused by: x", "sink.path: there"),
        ("Exception\n\tat a.b\nCaused by: java.net.ConnectException: refused", "java.net.Connect"),
        ("", "it said nothing"),
    ],
)
def test_a_refusal_gives_the_reason(
    flink: Callable[[str, int], Path], job_file: Path, says: str, reason: str
) -> None:
    flink(says, 1)
    with pytest.raises(SubmissionFailed, match=f"^{reason}"):
        submit(job_file, "r1", "h:1")


def test_without_a_cluster_nothing_is_sent(
    flink: Callable[[str, int], Path], job_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = flink("", 0)
    monkeypatch.setattr(submission, "JobManager", NoCluster)
    with pytest.raises(JobManagerError, match="not there"):
        submit(job_file, "r1", "h:1")
    assert not kept.exists()


def test_an_embedded_store_is_refused(make_job: Make) -> None:
    with pytest.raises(SettingsError, match=r"kind: redis.*environment, here and of every Task"):
        require_shared(make_job(), "r1")


def test_a_store_without_address_is_refused(
    make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_CLUSTER_URL", raising=False)
    job = make_job(store={"kind": "redis", "url_env": "TEST_CLUSTER_URL"})
    with pytest.raises(SettingsError, match="TEST_CLUSTER_URL"):
        require_shared(job, "r1")


def test_a_run_needs_a_name(make_job: Make) -> None:
    with pytest.raises(SettingsError, match=r"--cascade-run-id: '\.\./x' is no name"):
        require_shared(make_job(store=STORE), "../x")


def test_the_code_that_travels_can_be_imported(tmp_path: Path) -> None:
    path = tmp_path / "code.zip"
    pack_code(path)
    names = zipfile.ZipFile(path).namelist()
    assert "operators/flink/cascade.py" in names
    assert not any("__pycache__" in name or name.startswith("tests") for name in names)
    where = subprocess.run(
        [sys.executable, "-c", "import model_store.names as m; print(m.__file__)"],
        env={"PYTHONPATH": str(path)},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert where.startswith(str(path))


def test_flink_comes_with_pyflink_where_nothing_else_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FLINK_HOME", raising=False)
    assert (flink_home() / "bin" / "start-cluster.sh").is_file()


def test_the_script_tells_what_is_wrong_on_one_line(
    job_file: Path, write_job: Write, content: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_job(content)
    assert main(["--cascade-job", str(path), "--cascade-run-id", "r1"]) == 2
    assert capsys.readouterr().err.startswith("error: store: an embedded store ends")

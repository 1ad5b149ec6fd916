"""Sends a job to a Flink cluster, by Flink's own client."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from flink_job import job as script
from flink_job import output
from flink_job.java import ensure_java
from flink_job.jobmanager import JobManager
from flink_job.settings import SettingsError, load_job
from flink_job.stopping import root_cause

_PACKAGES = ("flink_job", "operators", "model_store")
_JOB_ID = re.compile(r"JobID ([0-9a-f]{32})")
_HERE = Path(__file__).resolve().parent


class SubmissionFailed(RuntimeError):
    """Flink's client did not send the job; the message is what it said."""


@dataclass(frozen=True)
class Submission:
    """A job that was sent to a cluster.

    Parameters
    ----------
    dashboard
        URL of the job's page.
    """

    job_id: str
    dashboard: str


def flink_home() -> Path:
    """The Flink that FLINK_HOME names, or the one that comes with PyFlink.

    Raises
    ------
    SettingsError
        If there is none.
    """
    named = os.environ.get("FLINK_HOME")
    if named:
        return Path(named)
    found = importlib.util.find_spec("pyflink")  # an import would look for Java
    if found is None or not found.submodule_search_locations:
        message = "There is no Flink. Operator action: pip install apache-flink, or set FLINK_HOME."
        raise SettingsError(message)
    return Path(found.submodule_search_locations[0])


def submit(
    job_file: Path,
    run_id: str,
    jobmanager: str,
    *,
    python: str = sys.executable,
    from_savepoint: str | None = None,
) -> Submission:
    """Send a job to a cluster; it runs on when this returns.

    The code travels with the job, so that the workers run what built the graph; what it imports
    must be installed beside `python`.

    Parameters
    ----------
    run_id
        Name of the run; budget and counts are kept under it.
    jobmanager
        ``host:port`` of the cluster's JobManager.
    python
        The interpreter on the cluster's machines.
    from_savepoint
        Folder or URI of the savepoint, or retained checkpoint, of that run to go on from.

    Raises
    ------
    SettingsError
        If the job can not run there.
    JobManagerError
        If there is no cluster.
    SubmissionFailed
        If Flink refused the job.
    """
    script.require_shared(load_job(job_file), run_id)
    restore = None if from_savepoint is None else output.savepoint_uri(from_savepoint)
    manager = JobManager(jobmanager)
    manager.overview()
    ensure_java()
    with tempfile.TemporaryDirectory(prefix="flink-cascade-") as folder:
        code = Path(folder) / "code.zip"
        pack_code(code)
        command = [str(flink_home() / "bin" / "flink"), "run", "--detached"]
        command += ["--jobmanager", manager.address]
        command += ["--pyExecutable", python, "--pyClientExecutable", sys.executable]
        command += ["--pyFiles", str(code)]
        command += ["--fromSavepoint", restore] if restore else []
        command += ["--python", str(_HERE / "job.py")]
        command += ["--cascade-job", str(job_file.absolute()), "--cascade-run-id", run_id]
        said = _run(command, {"FLINK_LOG_DIR": folder, **os.environ})
    return Submission(said, f"{manager.dashboard}/#/job/running/{said}/overview")


def pack_code(path: Path) -> None:
    """Write the packages of this project into a zip that Flink's `--pyFiles` takes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in _PACKAGES:
            for file in sorted((_HERE.parent / package).rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    archive.write(file, file.relative_to(_HERE.parent))


def _run(command: list[str], environment: dict[str, str]) -> str:
    """Run Flink's client; returns the job's id."""
    done = subprocess.run(  # noqa: S603  # Flink's client, arguments as a list
        command,
        env=environment,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="backslashreplace",
    )
    found = _JOB_ID.search(done.stdout)
    if found is None or done.returncode != 0:
        refused = [line for line in done.stdout.splitlines() if line.startswith(script.ERROR)]
        reason = refused[-1].removeprefix(script.ERROR) if refused else None
        said = done.stdout.strip() or f"it said nothing, and ended with {done.returncode}"
        raise SubmissionFailed(reason or root_cause(RuntimeError(said)))
    return found[1]

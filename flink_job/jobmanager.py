"""A Flink cluster's REST interface: what is there, and a stop from which a job can go on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlsplit

from flink_job.settings import SettingsError
from flink_job.stopping import root_cause

_TIMEOUT_S = 30.0
_POLL_S = 0.25
_DEFAULT_PORT = 8081
_DONE = "COMPLETED"
_SAVEPOINTS_OPTION = "execution.checkpointing.savepoint-dir"


class JobManagerError(RuntimeError):
    """The cluster could not be reached, or would not do what it was asked to."""


@dataclass(frozen=True)
class Overview:
    """What a cluster has.

    Parameters
    ----------
    version
        Of Flink, as in ``2.3.0``.
    slots
        Subtasks that it can take in all.
    """

    version: str
    task_managers: int
    slots: int
    slots_free: int


class JobManager:
    """Talks to one JobManager.

    Parameters
    ----------
    address
        ``host:port``, or a URL that begins with http:// or https://.
    sleep
        Waits so many seconds.

    Raises
    ------
    SettingsError
        If the address is none.
    """

    def __init__(self, address: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        try:
            url = urlsplit(address if "://" in address else f"http://{address}")
            host, port = url.hostname, url.port or _DEFAULT_PORT
        except ValueError:
            host = None
        if host is None or url.scheme not in ("http", "https") or url.path.strip("/"):
            message = f"--jobmanager: {address!r} is no address. Operator action: give host:port."
            raise SettingsError(message)
        self._host, self._port, self._secure = host, port, url.scheme == "https"

    @property
    def address(self) -> str:
        """As Flink's own client wants it."""
        return f"{self._host}:{self._port}"

    @property
    def dashboard(self) -> str:
        """URL of the web interface."""
        return f"http{'s' if self._secure else ''}://{self.address}"

    def overview(self) -> Overview:
        """Ask what the cluster has.

        Raises
        ------
        JobManagerError
            If it is out of reach, or no JobManager.
        """
        found = self._call("GET", "/overview")
        try:
            return Overview(
                str(found["flink-version"]),
                int(found["taskmanagers"]),
                int(found["slots-total"]),
                int(found["slots-available"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise JobManagerError(f"What answers at {self.address} is no JobManager.") from error

    def stop(self, job_id: str, folder: str | None) -> str:
        """Stop a job with a savepoint, and wait until it is written.

        Parameters
        ----------
        folder
            URI of the folder for it, reached from the cluster; None for the cluster's own default.

        Returns
        -------
        URI of the savepoint.

        Raises
        ------
        JobManagerError
            If there is no such job, or no savepoint could be written; then the job runs on.
        """
        job = f"/jobs/{quote(job_id, safe='')}"
        asked = {"drain": False, **({"targetDirectory": folder} if folder else {})}
        trigger = str(self._call("POST", f"{job}/stop", asked)["request-id"])
        while True:
            found = self._call("GET", f"{job}/savepoints/{trigger}")
            if found["status"]["id"] == _DONE:
                break
            self._sleep(_POLL_S)
        outcome = found.get("operation") or {}
        if "location" not in outcome:
            cause = outcome.get("failure-cause", {}).get("stack-trace", "no reason was given")
            raise JobManagerError(
                f"No savepoint of {job_id}; it runs on if it ran: {root_cause(RuntimeError(cause))}"
            )
        return str(outcome["location"])

    def state(self, job_id: str) -> str:
        """What a job is doing, in Flink's words: RUNNING, RESTARTING, FAILED, ...

        Raises
        ------
        JobManagerError
            If there is no such job.
        """
        return str(self._call("GET", f"/jobs/{quote(job_id, safe='')}").get("state"))

    def failure(self, job_id: str) -> str | None:
        """The root cause of a job's latest failure; None if it never failed.

        Raises
        ------
        JobManagerError
            If there is no such job.
        """
        found = self._call("GET", f"/jobs/{quote(job_id, safe='')}/exceptions")
        history = found.get("exceptionHistory", {}).get("entries") or []
        return root_cause(RuntimeError(history[0]["stacktrace"])) if history else None

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        kind = HTTPSConnection if self._secure else HTTPConnection
        connection = kind(self._host, self._port, timeout=_TIMEOUT_S)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            content = json.loads(response.read())
        except (OSError, HTTPException, ValueError) as error:
            raise JobManagerError(
                f"The JobManager at {self.address} can not be reached: {error}. "
                "Operator action: give the host and the REST port of a Flink cluster that runs."
            ) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise JobManagerError(_refusal(content))
        if not isinstance(content, dict):
            raise JobManagerError(f"What answers at {self.address} is no JobManager.")
        return content


def _refusal(content: Any) -> str:
    errors = content.get("errors") if isinstance(content, dict) else None
    told = "\n".join(str(error) for error in errors or ()) or "it gave no reason"
    reason = root_cause(RuntimeError(told))
    action = ""
    if _SAVEPOINTS_OPTION in reason:
        action = " Operator action: say where the savepoint is to go with --savepoints."
    return f"The JobManager refused: {reason}{action}"

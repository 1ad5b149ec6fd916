"""The REST client against a server that answers as a JobManager does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from flink_job.jobmanager import JobManager, JobManagerError, Overview
from flink_job.settings import SettingsError

JOB = "0123456789abcdef0123456789abcdef"
OVERVIEW = {"flink-version": "2.3.0", "taskmanagers": 2, "slots-total": 4, "slots-available": 3}


class FakeJobManager(ThreadingHTTPServer):
    """Gives the answers it was told, by method and path; the last one again and again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[tuple[int, Any]]] = {}
        self.asked: list[tuple[str, Any]] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def answer(self, what: str, *contents: Any, status: int = 200) -> None:
        self.answers[what] = [(status, content) for content in contents]


class Handler(BaseHTTPRequestHandler):
    server: FakeJobManager

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        what = f"{self.command} {self.path}"
        self.server.asked.append((what, json.loads(body) if body else None))
        waiting = self.server.answers[what]
        status, content = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = _respond

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[FakeJobManager]:
    with FakeJobManager() as fake:
        thread = threading.Thread(target=fake.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield fake
        fake.shutdown()
        thread.join()


def in_progress(*outcomes: dict[str, Any]) -> list[dict[str, Any]]:
    pending = {"status": {"id": "IN_PROGRESS"}, "operation": None}
    return [pending, *({"status": {"id": "COMPLETED"}, "operation": o} for o in outcomes)]


def test_it_tells_what_the_cluster_has(server: FakeJobManager) -> None:
    server.answer("GET /overview", OVERVIEW)
    assert JobManager(server.address).overview() == Overview("2.3.0", 2, 4, 3)


@pytest.mark.parametrize("content", [b"<html>hello</html>", [1], {"taskmanagers": "many"}])
def test_what_is_no_job_manager_is_named(server: FakeJobManager, content: Any) -> None:
    server.answer("GET /overview", content)
    with pytest.raises(JobManagerError, match=server.address):
        JobManager(server.address).overview()


def test_a_cluster_out_of_reach_is_named_with_what_to_do(server: FakeJobManager) -> None:
    address = server.address
    server.server_close()
    with pytest.raises(JobManagerError, match=f"{address} can not be reached.*REST port"):
        JobManager(address).overview()


@pytest.mark.parametrize("address", ["", "host:port", "ftp://host:1", "http://host/path", "::"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="--jobmanager"):
        JobManager(address)


def test_the_port_may_be_left_out_and_https_be_asked_for() -> None:
    assert JobManager("flink.example").address == "flink.example:8081"
    assert JobManager("https://flink.example:443").dashboard == "https://flink.example:443"


@pytest.mark.parametrize("folder", [None, "s3://bucket/savepoints"])
def test_a_stop_waits_for_its_savepoint(server: FakeJobManager, folder: str | None) -> None:
    server.answer(f"POST /jobs/{JOB}/stop", {"request-id": "t1"}, status=202)
    server.answer(f"GET /jobs/{JOB}/savepoints/t1", *in_progress({"location": "file:/s/1"}))
    waits: list[float] = []
    assert JobManager(server.address, waits.append).stop(JOB, folder) == "file:/s/1"
    assert len(waits) == 1
    asked = dict(server.asked)[f"POST /jobs/{JOB}/stop"]
    assert asked.pop("drain") is False
    assert asked == ({} if folder is None else {"targetDirectory": folder})


def test_a_savepoint_that_fails_is_told_with_its_cause(server: FakeJobManager) -> None:
    trace = "java.lang.Outer: x\n\tat a.b(C.java)\nCaused by: java.io.IOException: disk full\n"
    server.answer(f"POST /jobs/{JOB}/stop", {"request-id": "t1"})
    failure = {"failure-cause": {"class": "x", "stack-trace": trace}}
    server.answer(f"GET /jobs/{JOB}/savepoints/t1", *in_progress(failure))
    with pytest.raises(JobManagerError, match=r"runs on.*IOException: disk full"):
        JobManager(server.address, lambda _: None).stop(JOB, None)


def test_it_tells_what_a_job_does_and_why_it_failed(server: FakeJobManager) -> None:
    trace = "java.lang.Outer: x\nCaused by: java.io.IOException: disk full\n"
    server.answer(f"GET /jobs/{JOB}", {"state": "FAILED"})
    history = {"entries": [{"stacktrace": trace}, {"stacktrace": "older"}]}
    server.answer(
        f"GET /jobs/{JOB}/exceptions", {"exceptionHistory": history}, {"exceptionHistory": {}}
    )
    manager = JobManager(server.address)
    assert manager.state(JOB) == "FAILED"
    assert manager.failure(JOB) == "java.io.IOException: disk full"
    assert manager.failure(JOB) is None


def test_a_refusal_is_told_with_what_to_do(server: FakeJobManager) -> None:
    told = "Config key [execution.checkpointing.savepoint-dir] is not set."
    server.answer(f"POST /jobs/{JOB}/stop", {"errors": [told]}, status=400)
    with pytest.raises(JobManagerError, match="--savepoints"):
        JobManager(server.address).stop(JOB, None)


def test_a_job_that_is_not_there_is_told(server: FakeJobManager) -> None:
    trace = f"org.apache.flink.Not: Job could not be found.\nCaused by: NotFound: no {JOB}"
    server.answer(f"POST /jobs/{JOB}/stop", {"errors": [trace]}, status=404)
    with pytest.raises(JobManagerError, match=f"refused: NotFound: no {JOB}$"):
        JobManager(server.address).stop(JOB, None)

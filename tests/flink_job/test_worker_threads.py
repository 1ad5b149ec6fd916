"""Threads of workers that end with the job: quietly, and no others."""

from __future__ import annotations

import threading
from enum import Enum

import pytest

from flink_job.worker_threads import hush


class Code(Enum):
    CANCELLED = 1
    UNAVAILABLE = 14


class CallError(Exception):
    """As gRPC's: it tells its status by `code()`."""

    def code(self) -> Code:
        status: Code = self.args[0]
        return status


@pytest.mark.parametrize(
    ("thread", "error", "printed"),
    [
        ("read_grpc_client_inputs", CallError(Code.CANCELLED), False),
        ("read_grpc_client_inputs", CallError(Code.UNAVAILABLE), True),
        ("read_grpc_client_inputs", ValueError("a fault"), True),
        ("another", CallError(Code.CANCELLED), True),
    ],
)
def test_only_a_reader_that_was_hung_up_on_ends_quietly(
    monkeypatch: pytest.MonkeyPatch, thread: str, error: Exception, printed: bool
) -> None:
    told: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_value))
    hush()
    hush()

    def fail() -> None:
        raise error

    ending = threading.Thread(target=fail, name=thread)
    ending.start()
    ending.join()
    assert told == ([error] if printed else [])

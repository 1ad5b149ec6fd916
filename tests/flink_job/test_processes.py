from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest

from flink_job import processes

NAME = "TEST_CASCADE_PROCESSES"
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
input()
"""


@pytest.fixture
def value() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def parent(value: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a child of its own, both with the variable."""
    with subprocess.Popen(  # noqa: S603  # own interpreter
        [sys.executable, "-c", PARENT],
        env={**os.environ, NAME: value},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as started:
        yield started
        processes.send(processes.with_variable(NAME, value), signal.SIGKILL)


def test_a_process_is_found_by_its_variable_and_ended_with_its_children(
    parent: subprocess.Popen[bytes], value: str
) -> None:
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    # Amid its start a process has no environment yet.
    assert processes.wait_until(lambda: len(processes.with_variable(NAME, value)) == 2, 30)
    assert sorted(processes.with_variable(NAME, value)) == sorted([parent.pid, child])
    assert processes.with_variable(NAME, value[:-1]) == []
    assert sorted(processes.family(parent.pid)) == sorted([parent.pid, child])
    assert processes.family(child) == [child]
    processes.send([parent.pid, child], signal.SIGKILL)
    assert processes.wait_until(lambda: not processes.with_variable(NAME, value), 30)
    processes.send([child], signal.SIGKILL)  # gone, which is no error


def test_what_does_not_come_true_is_told() -> None:
    assert processes.wait_until(lambda: True, 0)
    assert not processes.wait_until(lambda: False, 0)

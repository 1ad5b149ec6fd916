from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flink_job.cli import app
from tests.flink_job.relay.jetstream import Server, post
from tests.kafka import Broker

Write = Callable[[Any], Path]
Content = dict[str, Any]


@pytest.fixture
def kafka(content: Content) -> Content:
    source = {"kind": "kafka", "bootstrap": "127.0.0.1:1", "topics": ["posts"], "group": "g"}
    return content | {"source": source, "budget": {"share": 0.1}}


def test_a_job_that_reads_files_is_refused(content: Content, posts: Path, write_job: Write) -> None:
    done = CliRunner().invoke(app, ["relay", str(write_job(content))])
    assert done.exit_code == 2
    assert "a relay feeds a topic" in done.output


@pytest.mark.parametrize(
    ("given", "said"),
    [("acks", "is no NAME=VALUE"), ("a=${env:TEST_RELAY_UNSET}", "TEST_RELAY_UNSET")],
)
def test_a_property_that_can_not_work_is_refused(
    kafka: Content, write_job: Write, given: str, said: str
) -> None:
    path = str(write_job(kafka))
    done = CliRunner().invoke(app, ["relay", path, "--client-property", given])
    assert done.exit_code == 2
    assert said in done.output


def test_it_ends_in_order_and_tells_what_it_did(
    kafka: Content, write_job: Write, tmp_path: Path
) -> None:
    async def scenario(broker: Broker) -> tuple[int | None, bytes]:
        async with Server([post(i) for i in range(25)], [10]).running() as url:
            script = "from flink_job.cli import app; app()"
            relay = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", script, "relay", str(write_job(kafka)), "--url", url),
                stdout=subprocess.PIPE,
            )
            while len(broker.read("posts", 1)) < 25:
                await asyncio.sleep(0.05)
            relay.send_signal(signal.SIGTERM)
            said, _ = await relay.communicate()
            return relay.returncode, said

    with Broker(tmp_path / "broker") as broker:
        broker.create(1, "posts")
        kafka["source"]["bootstrap"] = broker.bootstrap
        status, said = asyncio.run(scenario(broker))
        found = [json.loads(m.value() or b"")["text"] for m in broker.read("posts", 1)]
    assert (status, said[:8]) == (0, b"25 posts")
    assert found == [f"post {i}" for i in range(25)]

"""A job as a user runs it, on hostile posts: its secrets are in nothing that it writes.

Over TLS, as the Redis user of `docker/redis/rules.acl`, with both secrets in the environment, which
is the worst place for them.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
import yaml

from flink_job.demo.answers import text_key
from flink_job.demo.endpoint import EndpointSettings, RunningEndpoint
from model_store.embedded import EmbeddedRedis
from model_store.redis_connection import RedisConnection
from model_store.redis_ledger import RedisLedger
from tests.model_store.tls import TlsFront
from tests.security import hostile

pytestmark = pytest.mark.flink
KEY, PASSWORD = "sk-hunter2-is-the-key", "hunter2-of-the-redis-user"  # no real ones
RULES = Path(__file__).parents[2] / "docker/redis/rules.acl"
POSTS = 300
EVENTS = POSTS + len(hostile.TEXTS)
PATIENCE_S = 300.0


def make_user(admin: RedisConnection) -> None:
    rules = RULES.read_text(encoding="utf-8").split()
    command = ["ACL", "SETUSER", "cascade", "reset", "on", f">{PASSWORD}", *rules]
    admin.call(lambda client: client.execute_command(*command))
    # So that what it dumps can be read.
    admin.call(lambda client: client.config_set("rdbcompression", "no"))


def write_job(folder: Path, base_url: str) -> Path:
    content: dict[str, Any] = {
        "task": {"name": "moderation", "labels": ["ok", "abusive"], "prompt": "Is it abusive?"},
        "source": {"path": "in", "watch": True, "block": 50, "fields": {"key": "id"}},
        "sink": {"path": "out"},
        "store": {"kind": "redis"},
        "levels": [{"kind": "linear", "features": {"bits": 14}}],
        "expert": {
            "kind": "openai",
            "model": "m",
            "base_url": base_url,
            "api_key_env": "TEST_SECRET_KEY",
            "retry": {"attempts": 2, "first_wait_s": 0.01},
        },
        "budget": {"share": 0.3, "burst": 100},
        "flink": {"checkpoint_interval_s": 1, "log_level": "DEBUG"},
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    (folder / "in").mkdir()
    (folder / "in" / "posts.jsonl").write_bytes(hostile.posts(POSTS))
    return path


def run_until(done: Callable[[], bool], command: list[str], environment: dict[str, str]) -> bytes:
    """Run a command until something is done, then have it stop; returns what it printed."""
    with subprocess.Popen(  # noqa: S603  # this interpreter
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            for _ in range(int(PATIENCE_S)):
                if done() or process.poll() is not None:
                    break
                with suppress(subprocess.TimeoutExpired):
                    process.wait(1)
            process.send_signal(signal.SIGTERM)
            printed, _ = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == 0, printed.decode(errors="replace")
    return printed


def test_a_job_on_hostile_posts_gives_no_secret_away(tmp_path: Path) -> None:
    answers = {text_key(text): "abusive" for text in hostile.TEXTS}
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    settings = EndpointSettings(api_key=KEY, latency_ms_median=1, failure_rate=0.1)
    with (
        EmbeddedRedis(tmp_path / "redis") as server,
        TlsFront(context, urlsplit(server.url).port or 0) as front,
        RunningEndpoint(settings, answers) as endpoint,
        closing(RedisConnection(server.url)) as admin,
        closing(RedisLedger(server.url, "flink-cascade", "moderation.secret", 60)) as ledger,
    ):
        make_user(admin)
        job = write_job(tmp_path, endpoint.base_url)
        where = f"localhost:{front.port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}"
        # Not what PyFlink has set here for the jobs of other tests.
        kept = ("PATH", "HOME", "JAVA_HOME", "PYTHONPATH")
        environment = {name: os.environ[name] for name in kept if name in os.environ} | {
            "FLINK_CASCADE_REDIS_URL": f"rediss://cascade:{PASSWORD}@{where}",
            "TEST_SECRET_KEY": KEY,
        }

        def done() -> bool:
            usage = ledger.usage()
            return usage.seen == EVENTS and usage.settled == usage.deferred

        command = [sys.executable, "-c", "from flink_job.cli import app; app()"]
        command += ["run", str(job), "--cascade-run-id", "secret"]
        printed = run_until(done, command, environment)
        admin.call(lambda client: client.save())
        own = str(urlsplit(server.url).password)

    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    below = {path.relative_to(tmp_path).parts[:2] for path in written}
    for part in ("decisions", "dead_letters", "releases", "savepoints", "logs"):
        assert ("out", part) in below
    assert ("redis", "dump.rdb") in below
    for secret in (KEY, PASSWORD, own):
        assert secret.encode() not in printed
        assert [path for path, data in written.items() if secret.encode() in data] == []

    # Posts are where they belong: never in a log, whatever its level.
    texts = hostile.MARK.encode()
    assert texts not in printed
    logs = [data for path, data in written.items() if "logs" in path.parts]
    assert sum(map(len, logs)) > 0
    assert not any(texts in data for data in logs)
    for line in b"".join(logs).splitlines():
        assert isinstance(json.loads(line), dict)

    decided = Counter(
        json.loads(line)["id"]
        for path in (tmp_path / "out/decisions").rglob("part-*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    )
    wanted = [*(f"p{n}" for n in range(POSTS)), *(f"t{n}" for n in range(len(hostile.TEXTS)))]
    assert decided == Counter(wanted)
    dead = [
        json.loads(line)
        for path in (tmp_path / "out/dead_letters").rglob("part-*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert len(dead) == len(hostile.LINES)
    assert all(letter["error"] and len(letter["raw"]) < 10_000 for letter in dead)

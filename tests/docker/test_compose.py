from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import check_jsonschema
import jsonschema
import pytest
import yaml

from flink_job.settings import load_job

DOCKER = Path(__file__).parents[2] / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
SCHEMA = Path(check_jsonschema.__file__).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
MINE = "flink-online-cascade:cpu"


def services() -> Iterator[tuple[str, dict[str, Any]]]:
    yield from COMPOSE["services"].items()


def test_it_is_what_compose_takes() -> None:
    jsonschema.validate(COMPOSE, json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_images_are_pinned() -> None:
    for name, service in services():
        assert re.search(r":v?\d+\.\d+", service["image"]) or service["image"] == MINE, name


def test_what_is_mounted_from_here_is_here() -> None:
    for name, service in services():
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            assert source in COMPOSE["volumes"] or (DOCKER / source).exists(), (name, source)


def test_nobody_listens_beyond_this_machine() -> None:
    for _, service in services():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_secrets_come_as_files_and_in_no_other_way() -> None:
    for _, service in services():
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
    text = json.dumps(COMPOSE["services"])
    assert not re.search(r"(?i)(password|api_key)\W+[^/\s]*hunter|sk-", text)
    named = {v for v in COMPOSE["x-flink"]["environment"].values() if v.startswith("/run/secrets/")}
    assert {Path(path).name for path in named} == set(COMPOSE["x-flink"]["secrets"])


def test_services_that_are_waited_for_can_be_waited_for() -> None:
    every = dict(services())
    for name, service in every.items():
        waits = service.get("depends_on", {})
        for other, how in waits.items() if isinstance(waits, dict) else ():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in every[other], (name, other)
            if how["condition"] == "service_completed_successfully":
                assert every[other].get("restart", "no") == "no", (name, other)
            # A service of another profile would not be started.
            assert set(every[other].get("profiles", ())) <= set(service.get("profiles", ()))


def test_the_demos_job_is_a_job() -> None:
    job = load_job(DOCKER / "jobs" / "demo.yaml")
    mounted = [mount for mount in COMPOSE["services"]["submit"]["volumes"] if "/jobs" in mount]
    assert mounted == ["./jobs:/jobs:ro"]
    assert str(job.source.path).startswith("/data/")
    assert str(job.sink.path).startswith("/data/")


@pytest.mark.parametrize("again", [False, True])
def test_secrets_are_made_once_and_kept_from_others(tmp_path: Path, again: bool) -> None:
    folder = tmp_path / "secrets"
    script = DOCKER / "make-secrets.sh"
    for _ in range(1 + again):
        subprocess.run(["/bin/sh", script, folder], check=True)  # noqa: S603  # ours
        first = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert set(first) == set(COMPOSE["secrets"])
    assert re.fullmatch(r"[0-9a-f]{64}", first["redis_password"])
    assert first["redis_url"] == f"redis://cascade:{first['redis_password']}@redis:6379/0"
    assert folder.stat().st_mode & 0o077 == 0
    # Users of containers, who are neither owner nor group, read the files themselves.
    assert all(path.stat().st_mode & 0o004 for path in folder.iterdir())
    assert os.access(script, os.X_OK)

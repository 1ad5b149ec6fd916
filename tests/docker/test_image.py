"""The Dockerfile and what it puts into the image; no engine runs here."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pyflink
import pytest
import yaml

from tests.docker.dashboards import metrics as shown

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILE = DOCKER / "Dockerfile"
FLINK = Path(pyflink.__file__).parent


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Flink's options by their full names."""
    options: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            options |= flat(value, f"{prefix}{key}.")
        else:
            options[prefix + key] = str(value).strip()
    return options


def test_the_linter_finds_nothing() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run(  # noqa: S603  # a pinned package of the tests
        [hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_is_here() -> None:
    copies = re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE.read_text("utf-8"), re.MULTILINE)
    assert copies
    for line in copies:
        sources = [word for word in line.split() if not word.startswith("--")][:-1]
        assert all((ROOT / source).exists() for source in sources), line


def test_both_targets_run_as_flink_and_not_as_root() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE)
    targets = [stage for stage in stages if re.match(r"\S+ AS (cpu|cuda)\n", stage)]
    assert len(targets) == 2
    assert all(stage.rstrip().endswith("USER 9999:9999") for stage in targets)


def test_flinks_version_is_the_packages() -> None:
    from importlib.metadata import version

    wanted = version("apache-flink")
    assert f"FROM flink:{wanted}-java17 AS base" in DOCKERFILE.read_text("utf-8")
    kubernetes = (DOCKER / "kubernetes" / "cascade.yaml").read_text("utf-8")
    assert f"flink-python-{wanted}.jar" in kubernetes
    assert (FLINK / "opt" / f"flink-python-{wanted}.jar").exists()


@pytest.mark.parametrize("script", ["install.sh", "make-secrets.sh", "redis/start.sh"])
def test_scripts_are_scripts(script: str) -> None:
    path = DOCKER / script
    assert os.access(path, os.X_OK)
    subprocess.run(["/bin/sh", "-n", path], check=True)  # noqa: S603  # ours


def test_the_configuration_keeps_what_flink_needs_of_its_own() -> None:
    ours = flat(yaml.safe_load((DOCKER / "flink" / "config.yaml").read_text("utf-8")))
    stock = flat(yaml.safe_load((FLINK / "conf" / "config.yaml").read_text("utf-8")))
    # Java 17 does not start without them.
    assert ours["env.java.opts.all"].split() == stock["env.java.opts.all"].split()
    assert ours["metrics.reporter.prometheus.filterLabelValueCharacters"] == "False"
    assert ours["metrics.reporters"] == "prometheus"


@pytest.mark.parametrize(
    "path", [DOCKER / "flink" / "log4j-console.properties", ROOT / "flink_job" / "log4j.properties"]
)
def test_no_log_holds_an_environment_or_a_post(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    for logger, level in (
        ("org.apache.beam.runners.fnexecution.control.DefaultJobBundleFactory", "OFF"),
        ("org.apache.flink.connector.file.sink.writer.FileWriterBucket", "WARN"),
    ):
        (named,) = [line for line in lines if line.endswith(f".name = {logger}")]
        assert named.replace(f".name = {logger}", f".level = {level}") in lines


def test_prometheus_looks_where_flink_reports() -> None:
    scrape = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text("utf-8"))
    (job,) = scrape["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))
    assert set(found["names"]) <= set(compose["services"])
    ours = flat(yaml.safe_load((DOCKER / "flink" / "config.yaml").read_text("utf-8")))
    assert str(found["port"]) == ours["metrics.reporter.prometheus.port"]


def test_alerts_are_about_metrics_that_there_are() -> None:
    content = yaml.safe_load((DOCKER / "prometheus" / "alerts.yml").read_text("utf-8"))
    rules = [rule for group in content["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        named = set(re.findall(r"\bflink_\w+", rule["expr"]))
        assert named
        assert named <= shown()
        assert rule["annotations"]["summary"]

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flink_job.jvm import prepare_jvm
from flink_job.settings import FlinkSettings

LEAKING = "org.apache.beam.runners.fnexecution.control.DefaultJobBundleFactory"


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOG4J_PROPERTIES", "FLINK_LOG_DIR", "ROOT_LOG_LEVEL", "HADOOP_CLASSPATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_the_log_goes_to_the_folder_as_json_at_the_level_of_the_settings(tmp_path: Path) -> None:
    prepare_jvm(FlinkSettings(log_level="ERROR"), tmp_path / "logs")
    assert os.environ["FLINK_LOG_DIR"] == str(tmp_path / "logs")
    assert (tmp_path / "logs").is_dir()
    assert os.environ["ROOT_LOG_LEVEL"] == "ERROR"
    settings = Path(os.environ["LOG4J_PROPERTIES"]).read_text(encoding="utf-8")
    assert "JsonTemplateLayout" in settings


def test_what_the_operator_has_set_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG4J_PROPERTIES", "/mine")
    monkeypatch.setenv("FLINK_LOG_DIR", str(tmp_path / "mine"))
    prepare_jvm(FlinkSettings(), tmp_path / "logs")
    assert os.environ["LOG4J_PROPERTIES"] == "/mine"
    assert os.environ["FLINK_LOG_DIR"] == str(tmp_path / "mine")


def test_the_reporter_is_put_on_the_class_path_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HADOOP_CLASSPATH", "/mine.jar")
    for _ in range(2):
        prepare_jvm(FlinkSettings(), tmp_path)
    mine, reporter = os.environ["HADOOP_CLASSPATH"].split(os.pathsep)
    assert mine == "/mine.jar"
    assert Path(reporter).name.startswith("flink-metrics-prometheus")
    assert Path(reporter).exists()

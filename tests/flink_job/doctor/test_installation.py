from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from flink_job.doctor import State, installation
from flink_job.doctor.diagnosis import Diagnosis


def java_that(tmp_path: Path, script: str) -> str:
    """A home of a Java that runs this script instead."""
    executable = tmp_path / "jdk" / "bin" / "java"
    executable.parent.mkdir(parents=True)
    executable.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    executable.chmod(0o755)
    return str(tmp_path / "jdk")


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        ('openjdk version "17.0.9" 2023-10-17', State.OK, "Java 17"),
        ('openjdk version "21" 2023-09-19', State.OK, "Java 21"),
        ('openjdk version "25.0.2" 2026-01-20', State.WARNING, "Java 25"),
        ('openjdk version "11.0.21" 2023-10-17', State.BAD, "Java 11"),
        ('java version "1.8.0_392"', State.BAD, "Java 8"),
        ("something else", State.BAD, "does not say"),
    ],
)
def test_the_version_of_java(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, state: State, says: str
) -> None:
    monkeypatch.setenv("JAVA_HOME", java_that(tmp_path, f"echo '{answer}' >&2"))
    found = installation.java()
    assert (found.state, says in found.detail) == (state, True)
    assert bool(found.fix) == (state is not State.OK)


def test_a_java_that_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", java_that(tmp_path, "exit 1"))
    found = installation.java()
    assert (found.state, "does not run" in found.detail) == (State.BAD, True)


def test_no_java_where_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    found = installation.java()
    assert found.state is State.BAD
    assert "/nowhere" in found.detail
    assert "apt install" in found.fix


def test_the_java_that_the_tests_run_on() -> None:
    assert installation.java().state is not State.BAD


@pytest.fixture
def flink_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "lib").mkdir()
    monkeypatch.setenv("FLINK_HOME", str(tmp_path))
    return tmp_path


def test_flink_as_the_package_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLINK_HOME", raising=False)
    assert installation.flink().state is State.OK


def test_a_flink_home_of_the_same_version(flink_home: Path) -> None:
    (flink_home / f"lib/flink-dist-{version('apache-flink')}.jar").touch()
    assert installation.flink().state is State.OK


def test_a_flink_home_of_another_version(flink_home: Path) -> None:
    (flink_home / "lib/flink-dist-1.20.0.jar").touch()
    found = installation.flink()
    assert found.state is State.BAD
    assert "FLINK_HOME has Flink 1.20.0" in found.detail


def test_a_flink_home_without_flink(flink_home: Path) -> None:
    found = installation.flink()
    assert (found.state, "there is no lib/flink-dist" in found.detail) == (State.BAD, True)


def without(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    """Pretend that packages are there in other versions, or not at all."""

    def other(name: str) -> str:
        if name not in versions:
            return version(name)
        if (pretended := versions[name]) is None:
            raise PackageNotFoundError(name)
        return pretended

    monkeypatch.setattr(installation, "version", other)


def test_flink_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, **{"apache-flink": None})
    assert installation.flink().state is State.BAD


def test_all_packages_fit_here() -> None:
    found = installation.packages()
    assert found.state is State.OK, found.detail


def test_packages_that_are_missing_or_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, numpy="1.0", msgspec=None)
    found = installation.packages()
    assert found.state is State.BAD
    assert "msgspec is missing" in found.detail
    assert "numpy 1.0 is not" in found.detail
    assert "constraints.txt" in found.fix


def pins(path: Path, text: str) -> Diagnosis:
    path.write_text(text, encoding="utf-8")
    return installation.constraints(path)


def test_drift_from_the_constraints(tmp_path: Path) -> None:
    path = tmp_path / "constraints.txt"
    numpy = f"# set\nnumpy=={version('numpy')}\nno-such-package==1.0\n"
    assert pins(path, numpy).state is State.OK
    drifted = pins(path, numpy + "redis==4.0\n")
    assert drifted.state is State.WARNING
    assert f"redis {version('redis')} instead of 4.0; 1 in all" in drifted.detail
    assert installation.constraints(tmp_path / "none").state is State.WARNING


def test_this_checkout_runs_with_its_own_constraints() -> None:
    found = installation.constraints(Path(__file__).parents[3] / "constraints.txt")
    assert found.state is State.OK, found.detail

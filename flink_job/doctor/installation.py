"""Python, Java, Flink, and the packages: what is installed on this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from flink_job.doctor.diagnosis import Diagnosis, bad, ok, warning
from flink_job.java import ensure_java
from flink_job.settings import SettingsError

PROJECT = "flink-online-cascade"
_SUPPORTED_JAVA = (17, 21)
_TIMEOUT_S = 60
_SHOWN = 5  # packages in one line
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
_INSTALL_JAVA = (
    "apt install openjdk-17-jre-headless and point JAVA_HOME at it, or pip install "
    "'flink-online-cascade[java]'"
)


def java() -> Diagnosis:
    """The Java that Flink would run on."""
    try:
        ensure_java()
    except SettingsError as error:
        return bad("java", str(error), _INSTALL_JAVA)
    home = os.environ.get("JAVA_HOME")
    executable = str(Path(home) / "bin" / "java") if home else shutil.which("java") or "java"
    try:
        answer = subprocess.run(  # noqa: S603  # the one that Flink would start
            [executable, "-version"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return bad("java", f"{executable} does not run: {type(error).__name__}", _INSTALL_JAVA)
    found = re.search(r'version "(\d+)(?:\.(\d+))?', answer.stderr + answer.stdout)
    if found is None:
        return bad("java", f"{executable} does not say which version it is", _INSTALL_JAVA)
    major = int(found[1]) if found[1] != "1" else int(found[2] or 0)
    detail = f"Java {major}, {executable}"
    if major < min(_SUPPORTED_JAVA):
        return bad("java", detail, _INSTALL_JAVA)
    if major not in _SUPPORTED_JAVA:
        return warning("java", detail, "Flink 2 is made for Java 17 and 21; take one of them")
    return ok("java", detail)


def flink() -> Diagnosis:
    """The Flink of the Python package, and the one that FLINK_HOME names."""
    try:
        packaged = version("apache-flink")
    except PackageNotFoundError:
        return bad("flink", "apache-flink is not installed", f"pip install {PROJECT}")
    home = os.environ.get("FLINK_HOME")
    if not home:
        return ok("flink", f"apache-flink {packaged}")
    jars = sorted(Path(home).glob("lib/flink-dist-*.jar"))
    if not jars:
        fix = "unset FLINK_HOME to use the Flink of the Python package, or point it at a Flink"
        return bad("flink", f"FLINK_HOME is {home}, where there is no lib/flink-dist-*.jar", fix)
    cluster = jars[0].stem.removeprefix("flink-dist-")
    if cluster != packaged:
        fix = f"use Flink {packaged} in FLINK_HOME, or unset it"
        return bad("flink", f"FLINK_HOME has Flink {cluster}, Python has {packaged}", fix)
    return ok("flink", f"apache-flink {packaged}, FLINK_HOME {home}")


def packages() -> Diagnosis:
    """Whether all that is required is installed, in the versions that are required."""
    broken = sorted(set(_unmet(PROJECT, set())))
    if broken:
        fix = "install into a fresh environment, with the constraints.txt of this version"
        return bad("packages", f"{', '.join(broken[:_SHOWN])}; {len(broken)} in all", fix)
    return ok("packages", f"{PROJECT} {version(PROJECT)} and all that it requires")


def _unmet(name: str, seen: set[str]) -> Iterator[str]:
    """Requirements that are not met, of a package and of all that it requires."""
    if name in seen:
        return
    seen.add(name)
    for line in requires(name) or ():
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            yield f"{requirement.name} is missing"
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            yield f"{requirement.name} {installed} is not {requirement.specifier}"
        yield from _unmet(requirement.name.lower(), seen)


def constraints(path: Path) -> Diagnosis:
    """Whether what is installed is what this version was tested with."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        fix = "give the constraints.txt of this version with --constraints"
        return warning("constraints", f"{path}: {type(error).__name__}", fix)
    drifted = []
    for name, pinned in _PIN.findall(text):
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue  # of an extra that is not used here
        if installed.split("+")[0] != pinned:
            drifted.append(f"{name} {installed} instead of {pinned}")
    if drifted:
        fix = f"pip install --constraint {path} --force-reinstall those packages"
        detail = f"{', '.join(drifted[:_SHOWN])}; {len(drifted)} in all"
        return warning("constraints", detail, fix)
    return ok("constraints", f"as in {path}")

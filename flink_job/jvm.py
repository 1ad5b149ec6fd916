"""What Flink's JVM is told before it starts in this process: how to log, where metrics may go."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from flink_job.settings import FlinkSettings

_LOG_SETTINGS = Path(__file__).with_name("log4j.properties")
_REPORTER = "plugins/metrics-prometheus/flink-metrics-prometheus-*.jar"


def prepare_jvm(settings: FlinkSettings, logs: Path) -> None:
    """Set the environment of the JVM that PyFlink starts when it is imported to any depth.

    Has no effect on one that runs already. `FLINK_LOG_DIR` and `LOG4J_PROPERTIES` that are set win.

    Parameters
    ----------
    logs
        Folder for Flink's log.
    """
    os.environ.setdefault("LOG4J_PROPERTIES", str(_LOG_SETTINGS))
    os.environ.setdefault("FLINK_LOG_DIR", str(logs.absolute()))
    os.environ["ROOT_LOG_LEVEL"] = settings.log_level
    Path(os.environ["FLINK_LOG_DIR"]).mkdir(parents=True, exist_ok=True)
    # The mini cluster looks for reporters on its class path, not among the plugins.
    known = os.environ.get("HADOOP_CLASSPATH", "").split(os.pathsep)
    jars = [jar for jar in map(str, _reporters()) if jar not in known]
    os.environ["HADOOP_CLASSPATH"] = os.pathsep.join(filter(None, [*known, *jars]))


def _reporters() -> list[Path]:
    found = importlib.util.find_spec("pyflink")
    folders = (found.submodule_search_locations or []) if found else []
    return [jar for folder in folders for jar in Path(folder).glob(_REPORTER)]

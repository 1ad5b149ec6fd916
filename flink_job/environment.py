"""The Flink environment of a job: what must be set for PyFlink to run it well."""

from __future__ import annotations

import sys

from pyflink.common import Configuration
from pyflink.datastream import CheckpointingMode, StreamExecutionEnvironment

from flink_job.settings import RESTARTS_FORGOTTEN_S, FlinkSettings, SettingsError

_CHECKPOINT_TIMEOUT = (
    "1 h"  # checkpoints wait for the expert's calls, which may hang and be retried
)
_FAILED_CHECKPOINTS = 10  # in a row that are no reason to restart the job
_RESTARTS = "restart-strategy.exponential-delay"
_RESTORE = "execution.state-recovery.path"
_BUNDLE_SIZE = 1000  # records are chunks, so the bundle's time is what ends it


_PYTHON_LEVELS = {"WARN": "WARNING"}  # the others are called the same in Java and in Python
_REPORTER_FACTORY = "org.apache.flink.metrics.prometheus.PrometheusReporterFactory"


def create_environment(
    settings: FlinkSettings, checkpoints: str, restore: str | None = None
) -> StreamExecutionEnvironment:
    """Make the environment of the local mini cluster.

    Parameters
    ----------
    checkpoints
        URI of the folder for checkpoints.
    restore
        URI of the savepoint or checkpoint to start from.
    """
    options = _job_options(settings, checkpoints) | {
        # Workers would start whatever `python` is in the PATH.
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        "rest.bind-port": "0",
        "python.logging.default.level": _PYTHON_LEVELS.get(settings.log_level, settings.log_level),
        **_metrics(settings),
    }
    if restore is not None:
        options[_RESTORE] = restore
    return _environment(settings, options)


def create_cluster_environment(
    settings: FlinkSettings, checkpoints: str
) -> StreamExecutionEnvironment:
    """Make the environment of the cluster that Flink's client was told, inside that client.

    What says where and in which Python the job runs, and from which savepoint, is the client's.
    """
    return _environment(settings, _job_options(settings, checkpoints))


def restored_from(env: StreamExecutionEnvironment) -> str | None:
    """The savepoint or checkpoint that the job of an environment goes on from."""
    options = env._j_stream_execution_environment.getConfiguration().toMap()  # noqa: SLF001  # no public way
    savepoint = options.get(_RESTORE)
    return None if savepoint is None else str(savepoint)


def _job_options(settings: FlinkSettings, checkpoints: str) -> dict[str, str]:
    return {
        "python.fn-execution.bundle.size": str(_BUNDLE_SIZE),
        "python.fn-execution.bundle.time": str(settings.bundle_time_ms),
        # The default retries for ever, which looks like a job that hangs. A fixed number of times
        # would give up a stream that runs for a year at the fourth machine that dies.
        "restart-strategy.type": "exponential-delay" if settings.restarts else "none",
        f"{_RESTARTS}.attempts-before-reset-backoff": str(settings.restarts),
        f"{_RESTARTS}.reset-backoff-threshold": f"{RESTARTS_FORGOTTEN_S} s",
        f"{_RESTARTS}.initial-backoff": "1 s",
        f"{_RESTARTS}.max-backoff": "10 s",
        f"{_RESTARTS}.backoff-multiplier": "2.0",
        # The default keeps checkpoints in the JobManager's memory, and fails from 5 MB of state on:
        # less than a trainer's.
        "execution.checkpointing.storage": "filesystem",
        "execution.checkpointing.dir": checkpoints,
        # A job that was given up can go on from there.
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        # The defaults, 10 min and none, restart a job because its expert is slow.
        "execution.checkpointing.timeout": _CHECKPOINT_TIMEOUT,
        "execution.checkpointing.tolerable-failed-checkpoints": str(_FAILED_CHECKPOINTS),
    }


def _environment(settings: FlinkSettings, options: dict[str, str]) -> StreamExecutionEnvironment:
    configuration = Configuration()
    for name, value in options.items():
        configuration.set_string(name, value)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    for jar in settings.jars:
        if not jar.is_file():
            raise SettingsError(f"flink.jars: there is no file {jar}")
        # As options they would take the place of PyFlink's own jar.
        env.add_jars(jar.as_uri())
    env.set_buffer_timeout(settings.bundle_time_ms)
    env.set_parallelism(settings.parallelism)
    # Else it goes by the parallelism, and a savepoint can not be restored with another one.
    env.set_max_parallelism(settings.max_parallelism)
    interval_ms = round(settings.checkpoint_interval_s * 1000)
    env.enable_checkpointing(interval_ms, CheckpointingMode.EXACTLY_ONCE)
    return env


def _metrics(settings: FlinkSettings) -> dict[str, str]:
    if settings.metrics_port is None:
        return {}
    reporter = "metrics.reporter.prometheus"
    return {
        "metrics.reporters": "prometheus",
        f"{reporter}.factory.class": _REPORTER_FACTORY,
        f"{reporter}.port": str(settings.metrics_port),
        # Else `+Inf`, the last bucket of a histogram, reads `_Inf`.
        f"{reporter}.filterLabelValueCharacters": "false",
    }

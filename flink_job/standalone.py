"""A Flink cluster on this machine, each part a process of its own: to see what only one shows."""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import yaml

from flink_job import processes
from flink_job.java import ensure_java
from flink_job.jobmanager import JobManager, JobManagerError
from flink_job.submission import flink_home
from model_store.loopback import HOST, free_port

_CONF = "FLINK_CONF_DIR"
_START_TIMEOUT_S = 300.0
_STOP_TIMEOUT_S = 20.0
# Small, for a laptop or a build machine; what Flink would take by default is some 3 GiB.
_MEMORY = {
    "jobmanager.memory.heap.size": "256m",
    "jobmanager.memory.jvm-metaspace.size": "192m",
    "taskmanager.memory.task.heap.size": "192m",
    "taskmanager.memory.managed.size": "64m",
    "taskmanager.memory.network.min": "32m",
    "taskmanager.memory.network.max": "32m",
    # A limit. Each job and each restart loads PyFlink's classes anew, and may keep the old ones.
    "taskmanager.memory.jvm-metaspace.size": "512m",
}


# Beam logs the whole environment of a Python worker, with every key and password in it.
_WITHOUT_SECRETS = """
logger.environment.name = org.apache.beam.runners.fnexecution.control.DefaultJobBundleFactory
logger.environment.level = OFF
"""


class StandaloneCluster:
    """One JobManager and some TaskManagers, started by Flink's own `start-cluster.sh`.

    Parameters
    ----------
    directory
        For configuration, logs and process ids; made if need be.
    task_managers, slots
        How many TaskManagers, and how many subtasks of a job each can take.
    environment
        Variables that the processes get on top of this one's: secrets and addresses.
    options
        Flink options in place of those set here.

    Attributes
    ----------
    address
        ``host:port`` of the JobManager, for commands and its dashboard.
    """

    def __init__(
        self,
        directory: Path,
        *,
        task_managers: int = 2,
        slots: int = 2,
        environment: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory.absolute()
        self._wanted = task_managers
        port, rpc_port = free_port(), free_port()
        self.address = f"{HOST}:{port}"
        self._options = {
            "jobmanager.rpc.address": HOST,
            "jobmanager.rpc.port": str(rpc_port),
            "jobmanager.bind-host": HOST,
            "taskmanager.host": HOST,
            "taskmanager.bind-host": HOST,
            "taskmanager.numberOfTaskSlots": str(slots),
            "rest.address": HOST,
            "rest.port": str(port),
            "io.tmp.dirs": str(self._directory / "tmp"),
            # A process that was killed is noticed in seconds, not in a minute.
            "heartbeat.interval": "1 s",
            "heartbeat.timeout": "8 s",
            **_MEMORY,
            **(options or {}),
        }
        self._environment = dict(environment or {})

    @property
    def job_manager(self) -> int:
        """Process id of the JobManager."""
        return self._read_pids("standalonesession")[-1]

    @property
    def task_managers(self) -> list[int]:
        """Process ids of the TaskManagers that live, oldest first."""
        members = set(self._members())
        return [pid for pid in self._read_pids("taskexecutor") if pid in members]

    @property
    def logs(self) -> Path:
        """Folder of the logs."""
        return self._directory / "log"

    def __enter__(self) -> Self:
        """Start all processes, and wait until the TaskManagers have reported.

        Raises
        ------
        SettingsError
            If there is no Java runtime.
        JobManagerError
            If the cluster does not come up.
        """
        ensure_java()
        try:
            self._configure()
            self._script("start-cluster.sh")
            self.wait_for_task_managers(self._wanted)
        except BaseException:
            self._end_all()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end_all()

    def start_task_manager(self) -> None:
        """Start one more TaskManager; does not wait for it."""
        self._script("taskmanager.sh", "start")

    def start_job_manager(self) -> None:
        """Start the JobManager again after it was killed; does not wait for it."""
        self._script("jobmanager.sh", "start")

    def kill(self, pid: int) -> None:
        """Kill one of the processes at once, as the kernel would, and the Python workers with it.

        They would be left behind, for a TaskManager ends them when it shuts down in order.
        """
        members = self._members()
        if pid not in members:  # the id may have become another process's
            return
        killed = set(processes.family(pid)) & set(members)
        processes.send(killed, signal.SIGKILL)
        processes.wait_until(lambda: killed.isdisjoint(self._members()), _STOP_TIMEOUT_S)

    def wait_for_task_managers(self, count: int) -> None:
        """Wait until exactly so many TaskManagers are registered.

        Raises
        ------
        JobManagerError
            If that takes too long.
        """
        manager = JobManager(self.address)

        def registered() -> bool:
            try:
                return manager.overview().task_managers == count
            except JobManagerError:
                return False

        if not processes.wait_until(registered, _START_TIMEOUT_S):
            raise JobManagerError(
                f"The Flink cluster at {self.address} has no {count} TaskManagers "
                f"after {_START_TIMEOUT_S:.0f} s. Operator action: see the logs in {self.logs}."
            )

    def _configure(self) -> None:
        conf = self._directory / "conf"
        for folder in (conf, self.logs, self._directory / "pid", self._directory / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        stock = flink_home() / "conf"
        for path in stock.glob("log4j*.properties"):
            settings = path.read_text(encoding="utf-8") + _WITHOUT_SECRETS
            (conf / path.name).write_text(settings, encoding="utf-8")
        content = yaml.safe_load((stock / "config.yaml").read_text(encoding="utf-8"))
        # Without the module options of the stock configuration Flink does not start on Java 17.
        java = content["env"]["java"]["opts"]["all"]
        options = {"env.java.opts.all": java, **self._options}
        (conf / "config.yaml").write_text(yaml.safe_dump(options), encoding="utf-8")
        (conf / "masters").write_text(f"{self.address}\n", encoding="utf-8")
        (conf / "workers").write_text("localhost\n" * self._wanted, encoding="utf-8")

    def _script(self, name: str, *arguments: str) -> None:
        environment = {
            **os.environ,
            **self._environment,
            _CONF: str(self._directory / "conf"),
            "FLINK_LOG_DIR": str(self.logs),
            "FLINK_PID_DIR": str(self._directory / "pid"),
            "FLINK_IDENT_STRING": getpass.getuser(),
        }
        script = flink_home() / "bin" / name
        with (self.logs / "scripts.log").open("ab") as log:
            subprocess.run(  # noqa: S603  # a script of Flink's
                [str(script), *arguments],
                env=environment,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _read_pids(self, kind: str) -> list[int]:
        path = self._directory / "pid" / f"flink-{getpass.getuser()}-{kind}.pid"
        return [int(line) for line in path.read_text(encoding="utf-8").split()]

    def _members(self) -> list[int]:
        """Processes of this cluster, those that were left behind by a killed one among them."""
        return processes.with_variable(_CONF, str(self._directory / "conf"))

    def _end_all(self) -> None:
        processes.send(self._members(), signal.SIGTERM)
        if not processes.wait_until(lambda: not self._members(), _STOP_TIMEOUT_S):
            processes.send(self._members(), signal.SIGKILL)

"""A stage's job on a cluster of processes, which die and are started again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.chaos.stage import Stage
from flink_job.jobmanager import JobManager
from flink_job.output import uri
from flink_job.standalone import StandaloneCluster
from flink_job.submission import submit

_RUN = "chaos"
_LOOK_S = 1.0


@dataclass
class ClusterJob:
    """The job as it runs now.

    Parameters
    ----------
    task_managers
        How many there are to be.
    started
        TaskManagers that were started in the place of others.
    """

    stage: Stage
    cluster: StandaloneCluster
    task_managers: int
    job_id: str = ""
    started: int = 0

    def submit(self, from_checkpoint: str | None = None) -> None:
        """Send it."""
        sent = submit(
            self.stage.job_file, _RUN, self.cluster.address, from_savepoint=from_checkpoint
        )
        self.job_id = sent.job_id

    def kill_task_manager(self, number: int) -> None:
        """Kill one with its Python workers; another is started in its place."""
        victims = self.cluster.task_managers
        if victims:  # else the last one has just ended
            self.stage.strike()
            self.cluster.kill(victims[number % len(victims)])

    def kill_job_manager(self) -> None:
        """Kill it, start it again, and go on from the last checkpoint: it kept nothing itself."""
        self.stage.strike()
        self.cluster.kill(self.cluster.job_manager)
        self.cluster.start_job_manager()
        self.cluster.wait_for_task_managers(self.task_managers)
        self.submit(self.stage.checkpoint())

    def supervise(self, done: threading.Event) -> None:
        """Start TaskManagers in the place of those that ended, as Kubernetes would.

        They also end by themselves: Beam's count of what uses a Python worker can go below zero
        when its operators fail at the same moment (PyFlink 2.3), which Flink takes for fatal.
        """
        while not done.wait(_LOOK_S):
            for _ in range(self.task_managers - len(self.cluster.task_managers)):
                self.cluster.start_task_manager()
                self.started += 1

    def finish(self) -> None:
        """Wait until all is decided, and stop it with a savepoint."""
        self.stage.until_done()
        manager = JobManager(self.cluster.address)
        manager.stop(self.job_id, uri(self.stage.folder / "savepoints"))


@contextmanager
def on_cluster(
    stage: Stage, cluster: StandaloneCluster, task_managers: int
) -> Iterator[ClusterJob]:
    """Send a stage's job to a cluster whose workers know the stage's environment; finish it."""
    job = ClusterJob(stage, cluster, task_managers)
    done = threading.Event()
    supervisor = threading.Thread(target=job.supervise, args=(done,), name="supervisor")
    supervisor.start()
    try:
        job.submit()
        yield job
        job.finish()
    finally:
        done.set()
        supervisor.join()

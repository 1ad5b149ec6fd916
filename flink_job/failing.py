"""What to tell of a job that Flink gave up: why, and how it goes on."""

from __future__ import annotations

from flink_job import output
from flink_job.settings import JobSettings

# As the C library, and so the JVM, says it.
_FULL = ("No space left on device", "Disk quota exceeded")


def explain(cause: str, job: JobSettings, run_id: str) -> str:
    """Say what happened, what to mend, and what can be gone on from.

    Parameters
    ----------
    cause
        The root cause, a line.
    """
    logs = job.sink.path / output.LOGS
    todo = f"see the logs in {logs}"
    if any(text in cause for text in _FULL):
        todo = f"make room on the disk of {job.sink.path}, or of its subfolder that is full"
    last = output.last_checkpoint(job.sink.path)
    if job.store.kind == "redis" and last is not None:
        todo += (
            "; all that is committed stays, and the run goes on from its last checkpoint with "
            f"`--cascade-run-id {run_id} --from-savepoint {last}`"
        )
    return f"{cause.rstrip('.')}. Operator action: {todo}."

"""The whole examination, in the order in which things are needed."""

from __future__ import annotations

from pathlib import Path

from flink_job.doctor import accelerator, installation, services
from flink_job.doctor.diagnosis import Diagnosis
from flink_job.settings import JobSettings


def examine(job: JobSettings | None, constraints: Path | None) -> list[Diagnosis]:
    """Look at the machine, and at what a job relies on beyond it.

    Parameters
    ----------
    job
        None looks at the machine alone. With one, two calls to its expert are made and paid.
    constraints
        The versions that this software was tested with.
    """
    found = [installation.java(), installation.flink(), installation.packages()]
    if constraints is not None:
        found.append(installation.constraints(constraints))
    found.append(accelerator.onnx_runtime(job))
    if job is not None:
        found += [*services.redis(job), *services.expert(job)]
    return found

"""The store of a run: the configured Redis, or an embedded one for as long as the run lasts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flink_job.settings import JobSettings, SettingsError
from model_store.embedded import EmbeddedRedis
from operators.expert.openai_expert import api_key
from operators.flink.connection import StoreConnection
from operators.settings import OpenAIExpertSettings


def connection(job: JobSettings, run: str) -> StoreConnection:
    """How operators reach the job's store."""
    store = job.store
    return StoreConnection(
        task=job.task.name,
        run=run,
        url=store.url,
        url_env=store.url_env,
        namespace=store.namespace,
        retention=store.retention,
        answers_ttl_s=store.answers_ttl_s,
    )


@contextmanager
def running_store(job: JobSettings) -> Iterator[None]:
    """See to it that the job's store is there; workers inherit its address by the environment.

    Raises
    ------
    SettingsError
        If the settings ask for a Redis that neither they nor the environment name.
    model_store.errors.StoreError
        If the embedded one does not start.
    """
    if job.store.kind == "redis":
        job.store.resolve()
        yield
        return
    before = os.environ.get(job.store.url_env)
    with (
        tempfile.TemporaryDirectory(prefix="flink-cascade-") as folder,
        EmbeddedRedis(Path(folder)) as server,
    ):
        os.environ[job.store.url_env] = server.url
        try:
            yield
        finally:
            if before is None:
                del os.environ[job.store.url_env]
            else:
                os.environ[job.store.url_env] = before


def require_key(job: JobSettings) -> None:
    """See to it that the expert's key is there, before anything starts.

    Raises
    ------
    SettingsError
        If the expert wants a key and it is not in the environment.
    """
    if isinstance(job.expert, OpenAIExpertSettings):
        try:
            api_key(job.expert)
        except ValueError as error:
            raise SettingsError(str(error)) from error

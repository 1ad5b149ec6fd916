"""The store of a run: the configured Redis, or an embedded one for as long as the run lasts."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from flink_job.settings import JobSettings, SettingsError
from flink_job.source_settings import RedisSourceSettings
from model_store.embedded import EmbeddedRedis, write_private
from operators.assembly import prepare_levels
from operators.flink.connection import StoreConnection
from operators.levels.encoder.errors import EncoderUnavailable
from operators.settings import OpenAIExpertSettings

EMBEDDED_URL = "redis.url"
"""File in the sink's folder that says where the embedded Redis is which holds the streams."""
_EMBEDDED_ENV = "FLINK_CASCADE_EMBEDDED_REDIS_URL"


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
        window=job.budget.window if job.budget else None,
    )


def streams_connection(source: RedisSourceSettings, store: StoreConnection) -> StoreConnection:
    """How operators reach the Redis with the streams: by an address of its own, or the store's."""
    if source.url is None and source.url_env is None:
        return store
    return replace(store, url=source.url, url_env=source.url_env or store.url_env)


@contextmanager
def running_store(job: JobSettings, run: str) -> Iterator[StoreConnection]:
    """See to it that the job's store is there for a run; workers find it by the environment.

    Raises
    ------
    SettingsError
        If the settings ask for a Redis that neither they nor the environment name.
    model_store.errors.StoreError
        If the embedded one does not start.
    """
    if job.store.kind == "redis":
        job.store.resolve()
        yield connection(job, run)
        return
    # A variable of its own: a worker in this process gets back, for every variable that the JVM
    # inherited, the value from when the JVM was started, be it that of an earlier run.
    variable = f"{_EMBEDDED_ENV}_{secrets.token_hex(4).upper()}"
    with (
        tempfile.TemporaryDirectory(prefix="flink-cascade-") as folder,
        EmbeddedRedis(Path(folder)) as server,
    ):
        os.environ[variable] = server.url
        try:
            yield replace(connection(job, run), url_env=variable)
        finally:
            del os.environ[variable]


@contextmanager
def shown_to_producers(job: JobSettings, link: StoreConnection) -> Iterator[None]:
    """Keep a file that says where the embedded Redis is, as long as it runs, if it has streams.

    For whoever adds entries: its port and its password are new each time.

    Raises
    ------
    OSError
        If it can not be written.
    """
    if not job.embedded_streams:
        yield
        return
    path = job.sink.path / EMBEDDED_URL
    # Without a name redis-cli, before version 7, asks for a user that has none.
    write_private(path, os.environ[link.url_env].replace("://:", "://default:", 1))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def require_key(job: JobSettings) -> None:
    """See to it that the expert's key is there, before anything starts.

    Raises
    ------
    SettingsError
        If the expert wants a key and it is not in the environment.
    """
    if isinstance(job.expert, OpenAIExpertSettings):
        # Its client takes longer to import than a short replay to run.
        from operators.expert.openai_expert import api_key

        try:
            api_key(job.expert)
        except ValueError as error:
            raise SettingsError(str(error)) from error


def require_levels(job: JobSettings) -> None:
    """See to it that the base models of the encoders are there and exported.

    Raises
    ------
    SettingsError
        If one is not to be had.
    """
    try:
        prepare_levels(job)
    except EncoderUnavailable as error:
        raise SettingsError(f"levels: {error}") from error


def was_begun(link: StoreConnection) -> bool:
    """Whether the store knows of the run, and so what it has spent.

    Raises
    ------
    model_store.errors.StoreError
        If the store is out of reach.
    """
    return link.ledger().begun()


def begin_counts(link: StoreConnection, *, go_on: bool) -> None:
    """Begin to count what a run spends, or see to it that what it spent before is known.

    Parameters
    ----------
    go_on
        Whether the run goes on from a savepoint.

    Raises
    ------
    SettingsError
        If there is nothing of the run to go on with.
    model_store.errors.StoreError
        If the store is out of reach.
    """
    if not go_on:
        link.ledger().begin()
        return
    if not was_begun(link):
        message = (
            f"--cascade-run-id: the store knows nothing of a run {link.run!r}, so what it "
            "has left of its budget is not known. Operator action: give the name of the run that "
            "wrote the savepoint, and the store that it used; or begin anew with another sink."
        )
        raise SettingsError(message)

"""What `flink-cascade check` looks at before a job is started."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import closing
from dataclasses import dataclass

from flink_job import output
from flink_job.connecting import (
    connection,
    require_key,
    require_levels,
    running_store,
    streams_connection,
)
from flink_job.java import ensure_java
from flink_job.kafka_settings import KafkaConnection
from flink_job.settings import JobSettings, SettingsError
from flink_job.sink_settings import KafkaSinkSettings
from flink_job.source_settings import KafkaSourceSettings, RedisSourceSettings
from flink_job.sources.blocks import Survey, survey
from flink_job.sources.entry_ids import BEFORE_ALL
from flink_job.sources.reading import list_files
from flink_job.sources.redis_streams import RedisStreams, read_look
from model_store.errors import StoreError
from operators.expert.tariff import most_for_text
from operators.settings import EncoderSettings, OpenAIExpertSettings

_SAMPLE = 1000  # records of a watched folder that are looked at
_SAMPLE_OF_STREAM = 100  # entries of each stream
_CONNECT_S = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    warning
        What does not keep the job from running, but is hardly meant.
    """

    what: str
    good: bool
    detail: str
    warning: str | None = None


def check_job(job: JobSettings) -> list[Finding]:
    """Look at all that a job needs; makes no call to the expert."""
    found = [_source(job), _sink(job), *_encoders(job), *_budget(job)]
    return [*found, _expert(job), _store(job), _java()]


def _source(job: JobSettings) -> Finding:
    if isinstance(job.source, KafkaSourceSettings):
        return _brokers("source", job.source)
    if isinstance(job.source, RedisSourceSettings):
        return _streams(job, job.source)
    try:
        if job.source.watch:
            files = list_files(job.source)
            warning = _without_gold(job, _sample(job)) if files else None
            detail = f"watching {job.source.path}, {len(files)} files now"
            return Finding("source", True, detail, warning)
        found = survey(job)
    except (SettingsError, OSError) as error:
        return Finding("source", False, str(error))
    detail = f"{found.events} events, {found.dead} dead letters"
    if job.recorded_column:
        unanswered = sum(reference.expert is None for reference in found.references)
        detail += f", {unanswered} without a recorded answer"
    return Finding("source", found.events > 0, detail, _without_gold(job, found))


def _streams(job: JobSettings, source: RedisSourceSettings) -> Finding:
    """What the streams hold, and whether the first entries of each are events."""
    if job.embedded_streams:
        names = ", ".join(source.streams)
        return Finding("source", True, f"{names}, in the embedded Redis of the run")
    found, missing, bad = [], [], []
    try:
        job.resolve_source()
        if source.url is None and source.url_env is None:
            job.store.resolve()
        with closing(streams_connection(source, connection(job, "check")).redis()) as redis:
            streams = RedisStreams(redis, source)
            for name in source.streams:
                look = streams.look(name, BEFORE_ALL, _SAMPLE_OF_STREAM)
                found.append(f"{name}: {look.length if look else 0} entries")
                if look is None:
                    missing.append(name)
                else:
                    bad += read_look(job, source, name, look).dead
    except (SettingsError, StoreError) as error:
        return Finding("source", False, str(error))
    warnings = [f"there is no stream {name!r} yet; it is waited for" for name in missing]
    if bad:
        warnings.append(
            f"{len(bad)} of the first {_SAMPLE_OF_STREAM} entries of a stream are no events: "
            f"{bad[0].source}, {bad[0].line}: {bad[0].error}"
        )
    return Finding("source", True, "; ".join(found), "; ".join(warnings) or None)


def _sample(job: JobSettings) -> Survey:
    """The first records of a watched folder, as if they were all."""
    bounded = job.files.model_copy(update={"watch": False, "limit": _SAMPLE})
    return survey(job.model_copy(update={"source": bounded}))


def _without_gold(job: JobSettings, found: Survey) -> str | None:
    missing = sum(reference.label is None for reference in found.references)
    if job.source.fields.label is None or not missing:
        return None
    return (
        f"{missing} of {found.events} events have no gold label in {job.source.fields.label!r}, so "
        "the report can not judge them; is `source.fields.label` spelled as in the files?"
    )


def _sink(job: JobSettings) -> Finding:
    if isinstance(job.sink, KafkaSinkSettings):
        return _brokers("sink", job.sink)
    try:
        output.look(job.sink)
    except SettingsError as error:
        return Finding("sink", False, str(error))
    return Finding("sink", True, str(job.sink.path))


def _brokers(what: str, kafka: KafkaConnection) -> Finding:
    """Whether one of the brokers takes a connection; who may do what only a client finds out."""
    failed = ""
    for address in kafka.bootstrap.split(","):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), _CONNECT_S).close()
        except OSError as error:
            failed = f"the broker {address} can not be reached: {error}"
        else:
            return Finding(what, True, f"the broker {address} is there")
    return Finding(what, False, failed)


def _encoders(job: JobSettings) -> list[Finding]:
    models = [level.model for level in job.levels if isinstance(level, EncoderSettings)]
    if not models:
        return []
    try:
        require_levels(job)
    except SettingsError as error:
        return [Finding("encoders", False, str(error))]
    return [Finding("encoders", True, f"exported: {', '.join(models)}")]


def _budget(job: JobSettings) -> list[Finding]:
    """Whether a budget by the clock has room for a call at its most, which it must draw first."""
    window = job.budget.window if job.budget else None
    if window is None:
        return []
    most = most_for_text(job, "")
    calls = window.limit // most
    if calls == 0:
        message = (
            f"a call about the shortest text draws up to {most} of {window.limit}, so none would "
            "ever be made; raise the budget, or shorten `task.prompt` or `expert.max_tokens`"
        )
        return [Finding("budget", False, message)]
    minutes = round(window.length_s / 60)
    return [Finding("budget", True, f"room for {calls} calls in {minutes} min, at their most")]


def _expert(job: JobSettings) -> Finding:
    if not isinstance(job.expert, OpenAIExpertSettings):
        return Finding("expert", True, f"recorded answers in column {job.expert.column!r}")
    try:
        require_key(job)
    except SettingsError as error:
        return Finding("expert", False, str(error))
    detail = f"{job.expert.model} at {job.expert.base_url}, key in {job.expert.api_key_env}"
    return Finding("expert", True, detail)


def _store(job: JobSettings) -> Finding:
    try:
        with running_store(job, "check") as link:
            head = link.store().head(job.task.name)
    except (SettingsError, StoreError) as error:
        return Finding("store", False, str(error))
    return Finding("store", True, f"{job.store.kind}, head release {head or 'none yet'}")


def _java() -> Finding:
    try:
        ensure_java()
    except SettingsError as error:
        return Finding("java", False, str(error))
    return Finding("java", True, os.environ.get("JAVA_HOME") or shutil.which("java") or "")

"""Where decisions, and what else a job has to tell, go."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from flink_job.kafka_settings import KafkaConnection, Topic
from operators.settings.base import Section


class FileSinkSettings(Section):
    """JSON lines in folders below one folder; committed with each checkpoint, exactly once."""

    kind: Literal["files"] = "files"
    path: Path
    """A folder, made if need be; must not hold an earlier run."""


class TopicSettings(Section):
    """A topic for each kind of record."""

    decisions: Topic = "cascade-decisions"
    dead_letters: Topic = "cascade-dead-letters"
    annotations: Topic = "cascade-annotations"
    evidence: Topic = "cascade-evidence"
    releases: Topic = "cascade-releases"

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = list(self.model_dump().values())
        if len(set(names)) < len(names):
            message = "each kind of record needs a topic of its own"
            raise ValueError(message)
        return self


class KafkaSinkSettings(KafkaConnection):
    """JSON objects in topics, one a record, the event's key as theirs."""

    kind: Literal["kafka"]
    topics: TopicSettings = TopicSettings()
    guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once"
    """`exactly_once` writes in transactions that end with each checkpoint: consumers must read
    with `isolation.level=read_committed`. `at_least_once` is visible at once, and may repeat
    records after a failure."""
    path: Path = Path("out")
    """A folder for checkpoints and savepoints, where `flink.checkpoints` names no other place, and
    for the logs of a local run."""


SinkSettings = FileSinkSettings | KafkaSinkSettings

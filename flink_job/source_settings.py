"""Where events come from, and which of their fields hold what."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from flink_job.kafka_settings import KafkaConnection, Topic
from flink_job.redis_settings import RedisUrl, Variable
from operators.settings.base import Section


class FieldSettings(Section):
    """Which columns (CSV) or fields (JSON) hold what.

    A dot leads into nested objects, as in `commit.record.text`, unless a field has that very name.
    """

    id: str | None = "id"
    """The event's id. Null takes its place: file and line, partition and offset, or stream and
    entry id."""
    text: Annotated[str, Field(min_length=1)] = "text"
    """The text to classify."""
    key: str | None = None
    """What must stay in order together, such as the author. Null takes the id."""
    time: str | None = None
    """When the event happened. Passed through to the decision. Null takes the time that Kafka
    has for the record, or that is in the id of a stream's entry, and nothing for a file's row."""
    label: str | None = None
    """Gold label, for the report alone: nothing that decides or learns ever sees it."""
    expert: str | None = None
    """The expert's known answer, for the report alone. A recorded expert's column is taken here by
    itself."""


class FileSourceSettings(Section):
    """Events from a file, or a folder of files."""

    kind: Literal["files"] = "files"
    path: Path
    """A CSV (.csv) or JSON Lines (.jsonl, .ndjson) file, gzipped (.gz) or not, or a folder of
    them."""
    format: Literal["csv", "jsonl"] | None = None
    """Null goes by the file's ending."""
    fields: FieldSettings = FieldSettings()
    watch: bool = False
    """Go on for ever, taking in files as they appear in the folder. Move files in whole (rename);
    names that begin with a dot or an underscore, or are no UTF-8, are left alone."""
    block: Annotated[int, Field(ge=1, le=100_000)] = 128
    """Events read at once; shards cut it into chunks."""
    max_lag: Annotated[int, Field(ge=0)] = 64
    """Files wait for learning: no more is read while more than this many deferrals have no verdict
    yet. 0 learns from every block before the next."""
    longest: Annotated[int, Field(ge=1, le=64 << 20)] = 1 << 20
    """Longest line in bytes (JSON Lines) or field in characters (CSV). What is longer is a dead
    letter: it would be held in memory as a whole."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Read no more than this many records, bad ones included."""

    @model_validator(mode="after")
    def _watched(self) -> Self:
        if self.watch and self.limit is not None:
            message = "`limit` is for a source that ends; take it out, or `watch`"
            raise ValueError(message)
        return self


class WatermarkSettings(Section):
    """How far a topic has come, by the times that Kafka has for its records."""

    out_of_order_s: Annotated[float, Field(ge=0, le=86_400)] = 5.0
    """A record may be so much older than one that came before it."""
    idle_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """A partition without records for so long does not hold up the others."""


class KafkaSourceSettings(KafkaConnection):
    """Events from topics of JSON objects, one a record."""

    kind: Literal["kafka"]
    topics: Annotated[tuple[Topic, ...], Field(min_length=1)]
    group: Annotated[str, Field(min_length=1, max_length=249)]
    """Consumer group, to which offsets are committed with each checkpoint: for others to see, for
    the job goes on from its own checkpoints."""
    start: Literal["committed", "earliest", "latest"] | datetime = "committed"
    """Where a job without a savepoint begins: at the group's offsets (at the earliest, where there
    are none), an end of the topics, or a time."""
    fields: FieldSettings = FieldSettings()
    watermarks: WatermarkSettings = WatermarkSettings()
    chunk_ms: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Records are gathered for so long into one chunk: what is decided together is cheaper."""
    discovery_s: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    """How often new partitions are looked for."""


class RedisSourceSettings(Section):
    """Events from Redis Streams, one an entry, read from a position that is state of the job."""

    kind: Literal["redis"]
    streams: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
        Field(min_length=1, max_length=64),
    ]
    """Their keys. One that is not there yet is waited for."""
    url: RedisUrl | None = None
    """redis:// or rediss:// without a password. Where neither this nor `url_env` is given, the
    streams are in the Redis of `store`."""
    url_env: Variable | None = None
    """Environment variable with the URL, as in `store`."""
    json_field: Annotated[str, Field(min_length=1)] = "json"
    """Which field of an entry holds the event, a JSON object."""
    start: Literal["earliest", "latest"] | datetime = "earliest"
    """Where a job without a savepoint begins: at an end of the streams, or at a time, where the
    ids are those that Redis gives."""
    fields: FieldSettings = FieldSettings()
    block: Annotated[int, Field(ge=1, le=5000)] = 512
    """Entries of a stream that are read at once, at most."""
    chunk_ms: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Entries gather for so long in Redis: what is decided together is cheaper."""
    max_lag: Annotated[int, Field(ge=0)] | None = None
    """Null reads entries as they come. A number has a long stream wait for learning: no more is
    read while more than this many deferrals have no verdict yet."""

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if len(set(self.streams)) < len(self.streams):
            message = "`streams` names one of them twice; name each once"
            raise ValueError(message)
        if self.url is not None and self.url_env is not None:
            message = "`url` and `url_env` are two addresses; give one of them"
            raise ValueError(message)
        return self


SourceSettings = FileSourceSettings | KafkaSourceSettings | RedisSourceSettings

"""The job's settings: one YAML, validated once, before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from flink_job.redis_settings import STORE_VARIABLE, RedisUrl, Variable
from flink_job.sink_settings import FileSinkSettings, KafkaSinkSettings
from flink_job.source_settings import FileSourceSettings, RedisSourceSettings, SourceSettings
from operators.secrets import read_secret
from operators.settings import CascadeSettings, Name, PaperSettings, RecordedExpertSettings, Section

_KINDS_BY_DEFAULT = ("source", "sink")
RESTARTS_FORGOTTEN_S = 600
"""So long a job must run for the failures before to be forgotten."""
_YEAR_S = 366 * 86_400.0


class SettingsError(ValueError):
    """Settings that can not work; the message names each field and what to do."""


class StoreSettings(Section):
    """Where releases, budget and answers live."""

    kind: Literal["embedded", "redis"] = "embedded"
    """`embedded` starts a redis-server for the length of the run."""
    url: RedisUrl | None = None
    """redis:// or rediss:// without a password; with one, put the URL into the environment."""
    url_env: Variable = STORE_VARIABLE
    """Environment variable with the URL, read where `url` is not given; the same name with _FILE
    behind it names a file that holds it."""
    namespace: Name = "flink-cascade"
    retention: Annotated[int, Field(ge=2)] = 20
    """Releases kept."""
    answers_ttl_s: Annotated[float, Field(ge=1, le=_YEAR_S)] = 86_400.0
    """How long an expert's answer is remembered, so that a replay after a failure pays once."""

    @model_validator(mode="after")
    def _url_of_a_redis(self) -> Self:
        if self.url is not None and self.kind == "embedded":
            message = "`url` needs `kind: redis`"
            raise ValueError(message)
        return self

    def resolve(self) -> str:
        """Return the URL of the store.

        Raises
        ------
        SettingsError
            If neither the settings nor the environment name one.
        """
        url = self.url or _from_environment("store", self.url_env)
        if not url:
            message = (
                f"store.url: not given, and the environment variable {self.url_env} is not set. "
                f"Operator action: give one of them, or {self.url_env}_FILE with the path of a "
                "file that holds the URL, or use `store: {kind: embedded}`."
            )
            raise SettingsError(message)
        return url


def _from_environment(section: str, variable: str) -> str | None:
    try:
        return read_secret(variable)
    except ValueError as error:
        raise SettingsError(f"{section}.url_env: {error}") from error


class FlinkSettings(Section):
    """How the job runs on Flink."""

    parallelism: Annotated[int, Field(ge=1, le=1024)] = 1
    """Subtasks that decide and that ask the expert."""
    shards: Annotated[int, Field(ge=1, le=32_768)] = 8
    """Parts of the stream that keep their order and their state. Fixed for the life of the job;
    take many more than subtasks."""
    max_parallelism: Annotated[int, Field(ge=1, le=32_768)] = 128
    """The most subtasks that a savepoint can ever be restored with. Fixed for the life of the
    job."""
    checkpoint_interval_s: Annotated[float, Field(ge=0.01, le=86_400)] = 2.0
    """Decisions become visible in the sink with each checkpoint."""
    checkpoints: str | None = None
    """URI of the folder for checkpoints, such as s3://bucket/path; null is one in the sink's."""
    bundle_time_ms: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Longest wait of a record between two Python operators."""
    jars: tuple[Path, ...] = ()
    """Jars that travel with the job: the Kafka connector, where it is not in Flink's lib folder."""
    restarts: Annotated[int, Field(ge=0)] = 3
    """Failures on end after which the job gives up: with less than ten minutes between them."""
    log_level: Literal["DEBUG", "INFO", "WARN", "ERROR"] = "INFO"
    """Of a local run, whose log is in the sink's folder. A cluster has its own setting."""
    metrics_port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """Where a local run shows its metrics to Prometheus. A cluster has its own setting."""

    @model_validator(mode="after")
    def _subtasks_have_shards(self) -> Self:
        for limit in ("shards", "max_parallelism"):
            if self.parallelism > getattr(self, limit):
                message = f"`parallelism` is more than `{limit}`; take a higher `{limit}`"
                raise ValueError(message)
        return self


class JobSettings(CascadeSettings):
    """A whole job."""

    source: Annotated[SourceSettings, Field(discriminator="kind")]
    """`kind: files` where no kind is given."""
    sink: Annotated[FileSinkSettings | KafkaSinkSettings, Field(discriminator="kind")]
    """`kind: files` where no kind is given."""
    store: StoreSettings = StoreSettings()
    flink: FlinkSettings = FlinkSettings()

    @model_validator(mode="before")
    @classmethod
    def _files_by_default(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        return {
            section: {"kind": "files", **part}
            if section in _KINDS_BY_DEFAULT and isinstance(part, dict)
            else part
            for section, part in content.items()
        }

    @model_validator(mode="after")
    def _watch_budget(self) -> Self:
        budget = self.budget
        if self.endless and budget and budget.calls is not None and budget.events is None:
            message = (
                "budget: a watched folder, a stream, or a topic, has no end; use `share`, or give "
                "`events`, the length of stream over which `calls` are to be spent"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _frozen_store(self) -> Self:
        if self.learning.frozen and self.store.kind == "embedded":
            message = (
                "learning.frozen: an embedded store begins empty, so there is no release to decide "
                "with; name the Redis of the job that learned, under `store`"
            )
            raise ValueError(message)
        return self

    @property
    def endless(self) -> bool:
        """Whether the source goes on for ever."""
        return not isinstance(self.source, FileSourceSettings) or self.source.watch

    @property
    def embedded_streams(self) -> tuple[str, ...]:
        """Streams of the source that are in the embedded store."""
        source = self.source
        if self.store.kind != "embedded" or not isinstance(source, RedisSourceSettings):
            return ()
        return source.streams if source.url is None and source.url_env is None else ()

    def resolve_source(self) -> None:
        """See to it that the address of a stream's own Redis is there, before anything starts.

        Raises
        ------
        SettingsError
            If it is to be in the environment and is not.
        """
        source = self.source
        if not isinstance(source, RedisSourceSettings) or source.url_env is None:
            return
        if not _from_environment("source", source.url_env):
            message = (
                f"source.url_env: the environment variable {source.url_env} is not set. Operator "
                f"action: set it to the URL of the Redis with the streams, or {source.url_env}_FILE"
                " to the path of a file that holds it, here and on every TaskManager."
            )
            raise SettingsError(message)

    @property
    def files(self) -> FileSourceSettings:
        """The source, for what works with files alone.

        Raises
        ------
        SettingsError
            If it is none of files.
        """
        if isinstance(self.source, FileSourceSettings):
            return self.source
        message = "source.kind: files are needed here. Operator action: use `kind: files`."
        raise SettingsError(message)

    @property
    def recorded_column(self) -> str | None:
        """Column of the recorded expert, if there is one."""
        expert = self.expert
        return expert.column if isinstance(expert, RecordedExpertSettings) else None

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column or field of the source that the settings name."""
        named = [*self.source.fields.model_dump().values(), self.recorded_column]
        return tuple(dict.fromkeys(name for name in named if name))

    @property
    def unlimited(self) -> bool:
        """Whether nothing but the policy bounds the number of calls."""
        return self.budget is None and isinstance(self.policy, PaperSettings)

    def for_stream_of(self, events: int) -> Self:
        """The same job, its budget told the length of the stream."""
        budget = self.budget
        if budget is None or budget.calls is None or budget.events is not None:
            return self
        return self.model_copy(
            update={"budget": budget.model_copy(update={"events": max(1, events)})}
        )


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader; of a setting that is given twice it would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a mapping with a key that stands there twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        problem="a setting is given twice, for the second time",
                        problem_mark=key.start_mark,
                    )
                seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def load_job(path: Path) -> JobSettings:
    """Read a job's YAML. Relative paths in it are relative to its folder.

    Raises
    ------
    SettingsError
        If it can not be read or is not valid; the message names each field and the fix.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  # it derives from SafeLoader
    # A malformed date or number is a plain ValueError to PyYAML.
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        message = f"{path}: can not be read as YAML: {_without_excerpt(error)}"
        raise SettingsError(message) from error
    if not isinstance(content, dict):
        message = f"{path}: must be a mapping; see `flink-cascade schema` for its fields"
        raise SettingsError(message)
    _anchor(content, path.parent)
    try:
        return JobSettings.model_validate(content)
    except ValidationError as error:
        raise SettingsError(_explain(path, error)) from error


def _anchor(content: dict[str, Any], folder: Path) -> None:
    for section in ("source", "sink"):
        part = content.get(section)
        if isinstance(part, dict) and isinstance(part.get("path"), str):
            part["path"] = str((folder / part["path"]).absolute())
    flink = content.get("flink")
    if isinstance(flink, dict) and isinstance(flink.get("jars"), list):
        flink["jars"] = [str((folder / str(jar)).absolute()) for jar in flink["jars"]]
    levels = content.get("levels")
    for level in levels if isinstance(levels, list) else ():
        model = level.get("model") if isinstance(level, dict) else None
        # What is no folder beside the YAML may be the id of a hub model.
        if isinstance(model, str) and (folder / model).is_dir():
            level["model"] = str((folder / model).absolute())


def _without_excerpt(error: Exception) -> str:
    """An error's message without the line of the file that it quotes: a secret may stand there."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{error.problem} in line {mark.line + 1}, column {mark.column + 1}"
    return str(error)


def _explain(path: Path, error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)
    # pydantic also calls a list too short whose entries it has just refused.
    inner = {problem["loc"][:n] for problem in found for n in range(len(problem["loc"]))}
    problems = [p for p in found if p["type"] != "too_short" or p["loc"] not in inner]
    lines = [f"{path}: {len(problems)} thing(s) to mend:"]
    for problem in problems:
        where = ".".join(_place(problem["loc"])) or "(whole file)"
        what = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            what = "there is no such setting; check the spelling against `flink-cascade schema`"
        elif problem["type"] == "string_type":
            what = "must be text; put yes, no, on, off, null, numbers and dates in quotes"
        elif problem["type"] == "missing":
            what = "is required"
        lines.append(f"  {where}: {what}")
    return "\n".join(lines)


def _place(loc: tuple[int | str, ...]) -> list[str]:
    """Where in the file an error is; pydantic puts the kind of a source or sink in between."""
    parts = [str(part) for part in loc]
    return parts[:1] + parts[2:] if parts[0:1] and parts[0] in _KINDS_BY_DEFAULT else parts

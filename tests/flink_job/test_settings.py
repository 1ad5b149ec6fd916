from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_job.settings import JobSettings, SettingsError, StoreSettings, load_job
from operators.settings import EncoderSettings

Content = dict[str, Any]
Write = Callable[[Any], Path]


def put(content: Content, path: str, value: Any) -> Content:
    """The mapping with one setting changed, named as in an error; None takes it out."""
    *sections, name = path.split(".")
    part = content
    for section in sections:
        part = part.setdefault(section, {})
    if value is None:
        del part[name]
    else:
        part[name] = value
    return content


def error_of(path: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load_job(path)
    return str(caught.value)


def test_paths_are_relative_to_the_file_and_not_to_the_working_folder(
    content: Content, write_job: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_job(content)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    job = load_job(Path("../job.yaml"))
    assert job.source.path.resolve() == tmp_path / "posts.jsonl"
    assert job.sink.path.resolve() == tmp_path / "out"
    assert job.source.path.is_absolute()


def test_a_model_beside_the_file_is_found_and_any_other_name_is_left_alone(
    content: Content, write_job: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "small").mkdir(parents=True)
    models = ["models/small", "bert-base-uncased", "/opt/model"]
    levels: list[Any] = [
        {"kind": "encoder", "name": f"e{i}", "model": model} for i, model in enumerate(models)
    ]
    write_job(put(content, "levels", [{}, *levels]))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    job = load_job(Path("../job.yaml"))
    found = [level.model for level in job.levels if isinstance(level, EncoderSettings)]
    assert Path(found[0]).is_absolute()
    assert Path(found[0]).resolve() == tmp_path / "models" / "small"
    assert found[1:] == models[1:]


def test_absolute_paths_stay(content: Content, write_job: Write) -> None:
    assert load_job(write_job(put(content, "sink.path", "/var/out"))).sink.path == Path("/var/out")


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("source.pth", "x", ("source.pth:", "no such setting", "flink-cascade schema")),
        ("surprise", 1, ("surprise:", "no such setting")),
        ("levels", [{"kind": "linear", "bits": 3}], ("levels.0", "bits", "no such setting")),
        ("source", None, ("source: is required",)),
        ("sink", None, ("sink: is required",)),
        ("sink.path", None, ("sink.path: is required",)),
        ("task.prompt", None, ("task.prompt: is required",)),
        ("expert", None, ("expert: is required",)),
        ("expert.kind", None, ("expert:", "'kind'")),
        ("expert.kind", "oracle", ("expert:", "'openai', 'recorded'")),
        ("policy", "hopeful", ("policy:", "'budgeted', 'paper'")),
        ("source.block", "many", ("source.block:", "integer")),
        ("source.block", 0, ("source.block:", "greater than or equal to 1")),
        ("source.limit", 0, ("source.limit:", "greater than or equal to 1")),
        ("source.format", "xml", ("source.format:", "'csv' or 'jsonl'")),
        ("source.path", 5, ("source.path:", "path")),
        ("source.fields.text", "", ("source.fields.text:", "at least 1 character")),
        ("source", "posts.jsonl", ("source:", "dictionary")),
        ("task.labels", ["yes", " YES"], ("task:", "differ by more than case")),
        ("task.name", False, ("task.name: must be text", "quotes")),  # YAML's bare `no`
        ("flink.parallelism", 0, ("flink.parallelism:", "greater than or equal to 1")),
        ("flink.checkpoint_interval_s", 0.0001, ("flink.checkpoint_interval_s:", "0.01")),
        ("flink.checkpoint_interval_s", float("inf"), ("flink.checkpoint_interval_s:", "86400")),
        ("flink.checkpoint_interval_s", float("nan"), ("flink.checkpoint_interval_s:", "86400")),
        ("store.answers_ttl_s", float("inf"), ("store.answers_ttl_s:", "less than or equal")),
        ("store.namespace", "a/b", ("store.namespace:", "letters, digits")),
        ("store.url_env", "A B", ("store.url_env:", "pattern")),
        ("store.url", "redis://localhost", ("store:", "`url` needs `kind: redis`")),
        ("budget.share", 0.1, ("budget:", "exactly one of `calls`, `share`, `per_hour`")),
        ("budget", {}, ("budget:", "exactly one of `calls`, `share`, `per_hour`")),
        ("budget", None, ("budget: the budgeted policy needs one", "`budget: {share: 0.1}`")),
        ("learning.frozen", True, ("learning.frozen:", "name the Redis", "`store`")),
    ],
)
def test_an_error_names_the_setting_and_what_to_do(
    content: Content, write_job: Write, setting: str, value: Any, says: tuple[str, ...]
) -> None:
    path = write_job(put(content, setting, value))
    message = error_of(path)
    assert message.startswith(f"{path}: 1 thing(s) to mend:")
    for part in says:
        assert part in message


def test_all_mistakes_are_named_at_once(content: Content, write_job: Write) -> None:
    put(put(content, "source.block", -1), "sink.folder", "x")
    message = error_of(write_job(content))
    assert "2 thing(s)" in message
    assert "source.block" in message
    assert "sink.folder" in message


@pytest.mark.parametrize(
    ("watch", "budget", "says"),
    [
        ({"watch": True, "limit": 5}, {"share": 0.1}, "`limit` is for a source that ends"),
        ({"watch": True}, {"calls": 5}, "a topic, has no end; use `share`"),
    ],
)
def test_a_watched_source_has_no_end(
    content: Content, write_job: Write, watch: Content, budget: Content, says: str
) -> None:
    content["source"] |= watch
    content["budget"] = budget
    assert says in error_of(write_job(content))


@pytest.mark.parametrize("budget", [{"share": 0.1}, {"calls": 5, "events": 50}])
def test_a_watched_source_with_a_budget_that_fits(
    content: Content, write_job: Write, budget: Content
) -> None:
    content["source"]["watch"] = True
    content["budget"] = budget
    assert load_job(write_job(content)).source.watch


@pytest.mark.parametrize(
    "text",
    [
        b"task: [1, 2",
        b"a: b: c",
        b"\xff\xfe\x00",
        b"when: 2024-13-45",
        b"count: 0x_",
        b"? [a]\n: 1",
        b"[" * 5000,
        b"key: \x07",
        b"!!python/object/apply:os.system ['true']",
        b"a: &x [*y]",
    ],
)
def test_what_is_no_yaml_is_said_to_be_none(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(text)
    assert f"{path}: can not be read as YAML" in error_of(path)


@pytest.mark.parametrize("text", ["", "- a\n- b", "just words", "5", "null"])
def test_what_is_no_mapping(tmp_path: Path, text: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    message = error_of(path)
    assert "must be a mapping" in message
    assert "flink-cascade schema" in message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file" in error_of(tmp_path / "none.yaml")
    assert "directory" in error_of(tmp_path)


@given(text=st.text(max_size=60))
def test_no_file_at_all_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    error_of(path)


def test_an_unreadable_yaml_does_not_show_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("store:\n  url: redis://:hunter2@localhost: x\n")
    message = error_of(path)
    assert "line 2" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "url", ["redis://localhost", "rediss://user@host:6380/2", "unix:///run/redis.sock"]
)
def test_a_url_without_a_password_is_taken(url: str) -> None:
    assert StoreSettings(kind="redis", url=url).resolve() == url


def test_the_url_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_REDIS", "redis://:secret@host")
    settings = StoreSettings(kind="redis", url_env="SOME_REDIS")
    assert settings.resolve() == "redis://:secret@host"
    monkeypatch.delenv("SOME_REDIS")
    with pytest.raises(SettingsError, match=r"SOME_REDIS is not set. Operator action: .*embedded"):
        settings.resolve()


def test_the_url_of_the_settings_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_REDIS", "redis://other")
    settings = StoreSettings(kind="redis", url="redis://mine", url_env="SOME_REDIS")
    assert settings.resolve() == "redis://mine"


def test_columns_are_those_that_are_named(make_job: Callable[..., JobSettings]) -> None:
    assert make_job().columns == ("id", "text", "author", "label", "expert")
    job = make_job(source={"fields": {"id": None, "text": "expert"}})
    assert job.columns == ("expert",)


def test_the_recorded_column(make_job: Callable[..., JobSettings]) -> None:
    assert make_job().recorded_column == "expert"
    llm = make_job().model_dump() | {"expert": {"kind": "openai", "model": "m"}}
    assert JobSettings.model_validate(llm).recorded_column is None


def test_a_bounded_source_tells_the_budget_its_length(
    make_job: Callable[..., JobSettings],
) -> None:
    told = make_job().for_stream_of(300)
    assert told.budget is not None
    assert told.budget.events == 300
    assert make_job().for_stream_of(0).budget == told.budget.model_copy(update={"events": 1})


@pytest.mark.parametrize("budget", [{"calls": 5, "events": 50}, {"calls": None, "share": 0.5}])
def test_what_the_budget_knows_is_left_alone(
    make_job: Callable[..., JobSettings], budget: Content
) -> None:
    job = make_job(budget=budget)
    assert job.for_stream_of(300) == job


@pytest.mark.parametrize(
    ("policy", "budget", "unlimited"),
    [("paper", None, True), ("paper", {"calls": 5}, False), ("budgeted", {"calls": 5}, False)],
)
def test_only_the_paper_policy_may_go_without_a_budget(
    content: Content, policy: str, budget: Content | None, unlimited: bool
) -> None:
    job = JobSettings.model_validate(content | {"policy": policy, "budget": budget})
    assert job.unlimited is unlimited


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("task: {name: a}\nsink: {}\ntask: {name: b}\n", 3),
        ("task:\n  name: a\n  labels: []\n  name: hunter2\n", 4),
        ("levels:\n  - kind: linear\n    kind: linear\n", 3),
    ],
)
def test_a_setting_that_is_given_twice_is_refused(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    message = error_of(path)
    assert f"a setting is given twice, for the second time in line {line}, column" in message
    assert "hunter2" not in message


def test_merged_settings_may_be_given_again(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("a: &a {name: x}\ntask:\n  <<: *a\n  name: y\n")
    assert "given twice" not in error_of(path)

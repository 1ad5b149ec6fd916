from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flink_job.settings import JobSettings, SettingsError, load_job
from flink_job.sink_settings import FileSinkSettings, KafkaSinkSettings
from flink_job.source_settings import FileSourceSettings, KafkaSourceSettings

Write = Callable[[Any], Path]
Content = dict[str, Any]
JAAS = 'org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password={};'


@pytest.fixture
def kafka(content: Content) -> Content:
    content["source"] = {
        "kind": "kafka",
        "bootstrap": "a:1,b.example:2",
        "topics": ["posts"],
        "group": "g",
    }
    content["sink"] = {"kind": "kafka", "bootstrap": "a:1"}
    content["budget"] = {"share": 0.1}
    return content


def test_files_are_what_is_meant_without_a_kind(
    content: Content, posts: Path, write_job: Write
) -> None:
    job = load_job(write_job(content))
    assert isinstance(job.source, FileSourceSettings)
    assert isinstance(job.sink, FileSinkSettings)
    assert not job.endless
    assert JobSettings.model_validate(job.model_dump()) == job


def test_a_topic_has_no_end(kafka: Content, write_job: Write) -> None:
    job = load_job(write_job(kafka))
    assert isinstance(job.source, KafkaSourceSettings)
    assert isinstance(job.sink, KafkaSinkSettings)
    assert job.endless
    with pytest.raises(SettingsError, match="files are needed here"):
        _ = job.files
    kafka["budget"] = {"calls": 5}
    with pytest.raises(SettingsError, match="a topic, has no end"):
        load_job(write_job(kafka))


def test_jars_are_beside_the_yaml(kafka: Content, write_job: Write, tmp_path: Path) -> None:
    kafka["flink"] = {"jars": ["a/b.jar"]}
    assert load_job(write_job(kafka)).flink.jars == (tmp_path / "a" / "b.jar",)


@pytest.mark.parametrize(
    ("section", "change", "said"),
    [
        ("source", {"bootstrap": "a"}, "source.bootstrap: "),
        ("source", {"topics": []}, "source.topics: "),
        ("source", {"topics": ["a/b"]}, "source.topics.0: "),
        ("source", {"start": "yesterday"}, "source.start"),
        ("source", {"kind": "pulsar"}, "source: "),
        ("source", {"path": "posts"}, "source.path: there is no such setting"),
        ("sink", {"topics": {"decisions": "x", "evidence": "x"}}, "a topic of its own"),
        ("sink", {"guarantee": "perhaps"}, "sink.guarantee: "),
        ("sink", {"path": 5}, "sink.path: "),
    ],
)
def test_what_can_not_work_is_refused_where_it_stands(
    kafka: Content, write_job: Write, section: str, change: Content, said: str
) -> None:
    kafka[section] |= change
    with pytest.raises(SettingsError, match=r"\n  .*" + said):
        load_job(write_job(kafka))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ssl.key.password", "hunter2"),
        ("ssl.keystore.password", "hunter2"),
        ("ssl.keystore.key", "-----BEGIN"),
        ("sasl.oauthbearer.client.credentials.client.secret", "hunter2"),
        ("sasl.jaas.config", JAAS.format('"hunter2"')),
        ("sasl.jaas.config", JAAS.format("hunter2")),
    ],
)
def test_a_secret_is_refused_and_not_repeated(
    kafka: Content, write_job: Write, name: str, value: str
) -> None:
    kafka["source"]["properties"] = {name: value}
    with pytest.raises(SettingsError, match=r"holds a secret; write \$\{env:NAME\}") as caught:
        load_job(write_job(kafka))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("security.protocol", "SASL_SSL"),
        ("ssl.key.password", "${env:KEY_PASSWORD}"),
        ("sasl.jaas.config", JAAS.format('"${file:/run/secrets/kafka:password}"')),
        ("sasl.jaas.config", JAAS.format("${env:PASSWORD}")),
    ],
)
def test_a_reference_is_passed_on(kafka: Content, write_job: Write, name: str, value: str) -> None:
    kafka["source"]["properties"] = {name: value}
    source = load_job(write_job(kafka)).source
    assert isinstance(source, KafkaSourceSettings)
    assert source.properties == {name: value}

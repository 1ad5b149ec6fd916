from __future__ import annotations

from pathlib import Path

import pytest

from flink_job.settings import SettingsError, StoreSettings
from model_store.errors import StoreMisconfigured
from operators.expert.openai_expert import api_key
from operators.flink.connection import StoreConnection
from operators.secrets import read_secret
from operators.settings import OpenAIExpertSettings

VARIABLE = "TEST_CASCADE_SECRET"
EXPERT = OpenAIExpertSettings(model="m", api_key_env=VARIABLE)
STORE = StoreSettings(kind="redis", url_env=VARIABLE)


def link() -> StoreConnection:
    return StoreConnection("t", "r", None, VARIABLE, "ns", 2, 60.0)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "secret"
    path.write_text("redis://user:hunter2@host\n", encoding="utf-8")
    monkeypatch.setenv(f"{VARIABLE}_FILE", str(path))
    return path


def test_a_file_will_do_wherever_a_variable_would(file: Path) -> None:
    assert read_secret(VARIABLE) == STORE.resolve() == "redis://user:hunter2@host"
    assert api_key(EXPERT).get_secret_value() == "redis://user:hunter2@host"
    assert link()._url() == "redis://user:hunter2@host"


def test_the_variable_itself_comes_first(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, " mine ")
    assert read_secret(VARIABLE) == "mine"


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_file_is_no_secret(file: Path, content: str) -> None:
    file.write_text(content, encoding="utf-8")
    assert read_secret(VARIABLE) is None
    with pytest.raises(ValueError, match=f"{VARIABLE}_FILE"):
        api_key(EXPERT)
    with pytest.raises(SettingsError, match=f"{VARIABLE}_FILE"):
        STORE.resolve()
    with pytest.raises(StoreMisconfigured, match=f"{VARIABLE}_FILE"):
        link()._url()


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_can_not_be_read_is_named(file: Path, content: bytes | None) -> None:
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=f"{VARIABLE}_FILE is .*secret, which can not be read"):
        read_secret(VARIABLE)
    with pytest.raises(SettingsError, match=r"store\.url_env: .*Operator action"):
        STORE.resolve()
    with pytest.raises(StoreMisconfigured, match="Operator action"):
        link()._url()

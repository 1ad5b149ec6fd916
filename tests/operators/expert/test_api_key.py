"""Where the key of the OpenAI expert comes from, and what is said if it is not there."""

from __future__ import annotations

import pytest

from operators.expert.openai_expert import api_key
from operators.settings import OpenAIExpertSettings

KEY = "sk-never-to-be-seen"


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = OpenAIExpertSettings(model="m", api_key_env="TEST_LLM_KEY")
    monkeypatch.setenv("TEST_LLM_KEY", f" {KEY}\n")
    key = api_key(chosen)
    assert key.get_secret_value() == KEY
    assert KEY not in repr(key) + str(key)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_key_says_what_to_do(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("TEST_LLM_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TEST_LLM_KEY", value)
    with pytest.raises(ValueError, match=r"TEST_LLM_KEY is not set\. Operator action: export it"):
        api_key(OpenAIExpertSettings(model="m", api_key_env="TEST_LLM_KEY"))

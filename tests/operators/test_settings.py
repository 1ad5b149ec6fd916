"""Settings: the paper's defaults, and every mistake named in words that help."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from model_store.names import is_name, is_tensor_name
from model_store.window import Window
from operators.expert.prompt import parse_label
from operators.settings import (
    BudgetedSettings,
    BudgetSettings,
    CascadeSettings,
    FeatureSettings,
    GateSettings,
    LinearSettings,
    Name,
    OpenAIExpertSettings,
    PaperSettings,
    RetrySettings,
    Section,
    TaskSettings,
)

_TASK: dict[str, Any] = {"name": "spam", "labels": ["spam", "ok"], "prompt": "Is it spam?"}
_RECORDED = {"kind": "recorded", "column": "expert"}


def written(**changes: Any) -> dict[str, Any]:
    """Settings as a YAML file would have them."""
    plain: dict[str, Any] = {"task": _TASK, "expert": _RECORDED, "budget": {"share": 0.1}}
    return {key: value for key, value in (plain | changes).items() if value is not None}


def test_the_least_that_must_be_written() -> None:
    chosen = CascadeSettings.model_validate(written())
    assert isinstance(chosen.policy, BudgetedSettings)
    assert [level.name for level in chosen.levels] == ["linear"]
    assert chosen.task.labels == ("spam", "ok")


def test_policy_shorthand() -> None:
    paper = CascadeSettings.model_validate(written(policy="paper", budget=None))
    assert paper.policy == PaperSettings()
    assert CascadeSettings.model_validate(written(policy="budgeted")).policy == BudgetedSettings()
    long = CascadeSettings.model_validate(written(policy={"kind": "paper", "mu": 0.1}))
    assert long.policy == PaperSettings(mu=0.1)


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({"budget": {"share": 0.5}}, 0.01),  # 5 % of half the events would be more
        ({"budget": {"share": 0.1}}, 0.005),
        ({"budget": {"calls": 600, "events": 6000}}, 0.005),
        ({"budget": {"calls": 600}}, 0.01),  # of so many events as nobody knows
        ({"budget": {"calls": 9, "events": 3}}, 0.01),
        ({"budget": {"calls": 0, "events": 3}}, 0),
        ({"budget": {"share": 0.5}, "policy": {"kind": "budgeted", "audit": 0.02}}, 0.02),
        ({"policy": "paper", "budget": None}, 0),
    ],
)
def test_audits_take_a_part_of_the_budget_at_most(changes: dict[str, Any], rate: float) -> None:
    chosen = CascadeSettings.model_validate(written(**changes))
    assert chosen.audit_rate == pytest.approx(rate)
    assert chosen.least_audit_rate == pytest.approx(rate / 2)


def test_a_target_is_proved_by_many_audits_of_all_answers_alike() -> None:
    chosen = CascadeSettings.model_validate(written(budget=None, target_agreement=0.9))
    assert (chosen.audit_rate, chosen.least_audit_rate) == (0.1, 0.1)


def test_paper_defaults_are_table_3() -> None:
    """IMDB, HateSpeech, ISEAR and FEVER share most of the LR row; IMDB's is the default."""
    chosen = PaperSettings()
    assert chosen.gates == (GateSettings(),)
    gate = chosen.gates[0]
    assert (gate.cache, gate.rate, gate.decay, gate.calibration) == (8, 0.0007, 0.97, 0.4)
    assert (LinearSettings().cost, chosen.expert_cost) == (1, 1182)
    assert chosen.hidden == 128


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "labels that differ by case": (
        {"task": _TASK | {"labels": ["Spam", "spam "]}},
        "differ by more than case and punctuation",
    ),
    "a label twice": ({"task": _TASK | {"labels": ["ok", "ok"]}}, "'ok' and 'ok' must differ"),
    "an empty label": ({"task": _TASK | {"labels": ["spam", " ."]}}, "' .' is empty but for"),
    "a label in two lines": (
        {"task": _TASK | {"labels": ["spam", "ok\nspam"]}},
        "holds a control character, such as a line break",
    ),
    "one label": ({"task": _TASK | {"labels": ["spam"]}}, "at least 2 items"),
    "positive is no label": (
        {"task": _TASK | {"positive": "scam"}},
        r"positive: 'scam' is none of the labels \['spam', 'ok'\]",
    ),
    "an empty prompt": ({"task": _TASK | {"prompt": ""}}, "at least 1 character"),
    "a name with a slash": ({"task": _TASK | {"name": "a/b"}}, "a letter or digit first"),
    "a name with a line break": ({"task": _TASK | {"name": "a\n"}}, "a letter or digit first"),
    "no budget": ({"budget": None}, "`budget: {share: 0.1}`"),
    "a target beside a budget": ({"target_agreement": 0.9}, "take one of them out"),
    "a target for the paper's policy": (
        {"target_agreement": 0.9, "budget": None, "policy": "paper"},
        "steers by its mu",
    ),
    "a target without audits": (
        {"target_agreement": 0.9, "budget": None, "policy": {"kind": "budgeted", "audit": 0}},
        "nothing proves it without `policy.audit`",
    ),
    "a target of everything": ({"target_agreement": 1, "budget": None}, "less than 1"),
    "two budgets": (
        {"budget": {"share": 0.1, "calls": 5}},
        "exactly one of `calls`, `share`, `per_hour`, `usd_per_hour`, `tokens_per_minute`",
    ),
    "half a budget": (
        {"budget": {"burst": 5}},
        "exactly one of `calls`, `share`, `per_hour`, `usd_per_hour`, `tokens_per_minute`",
    ),
    "length with a share": (
        {"budget": {"share": 0.1, "events": 5}},
        "`events` goes with `calls`",
    ),
    "a share of nothing": ({"budget": {"share": 0}}, "greater than 0"),
    "a share beyond all": ({"budget": {"share": 1.1}}, "less than or equal to 1"),
    "calls and a rate": ({"budget": {"calls": 5, "per_hour": 5}}, "exactly one of"),
    "two rates": ({"budget": {"tokens_per_minute": 5, "per_hour": 5}}, "exactly one of"),
    "a rate and a length": (
        {"budget": {"per_hour": 5, "events": 100}},
        "no other budget needs the length of the stream",
    ),
    "a rate of nothing": ({"budget": {"per_hour": 0}}, "greater than or equal to 1"),
    "money without prices": (
        {"budget": {"usd_per_hour": 1}, "expert": {"kind": "openai", "model": "m"}},
        r"needs expert\.price\.input_usd and expert\.price\.output_usd.*or use `per_hour`",
    ),
    "money with half of the prices": (
        {
            "budget": {"usd_per_hour": 1},
            "expert": {"kind": "openai", "model": "m", "price": {"input_usd": 0.15}},
        },
        r"needs expert\.price\.input_usd and expert\.price\.output_usd",
    ),
    "tokens of records": (
        {"budget": {"tokens_per_minute": 100}, "expert": {"kind": "recorded", "column": "c"}},
        "recorded answers take no tokens.*use `per_hour`",
    ),
    "negative calls": ({"budget": {"calls": -1}}, "greater than or equal to 0"),
    "too many gates": (
        {"policy": {"kind": "paper", "gates": [{}, {}]}},
        "policy.gates: write one entry, or one for each of the 1 levels",
    ),
    "no gates": ({"policy": {"kind": "paper", "gates": []}}, "policy.gates: write one entry"),
    "levels of one name": ({"levels": [{}, {}]}, r"names must differ.*\['linear', 'linear'\]"),
    "a reserved name": ({"levels": [{"name": "expert"}]}, "none of .*'expert'"),
    "no levels": ({"levels": []}, "at least 1 item"),
    "an unknown field": ({"levles": []}, "levles\n.*Extra inputs are not permitted"),
    "an unknown field, deep": (
        {"levels": [{"features": {"ngrams": 2}}]},
        r"levels\.0\.linear\.features\.ngrams\n.*Extra inputs are not permitted",
    ),
    "an unknown policy": ({"policy": "papre"}, "'papre'.*expected tags: 'budgeted', 'paper'"),
    "an unknown expert": ({"expert": {"kind": "oracle"}}, "'oracle'.*'openai', 'recorded'"),
    "an expert without a kind": ({"expert": {"column": "c"}}, "discriminator 'kind'"),
    "characters the wrong way round": (
        {"levels": [{"features": {"characters": [5, 3]}}]},
        "shortest <= longest <= 8",
    ),
    "characters too long": (
        {"levels": [{"features": {"characters": [3, 9]}}]},
        "shortest <= longest <= 8",
    ),
    "a key in the settings": (
        {"expert": {"kind": "openai", "model": "m", "api_key_env": "sk-secret"}},
        "api_key_env",
    ),
    "an address without a scheme": (
        {"expert": {"kind": "openai", "model": "m", "base_url": "api.openai.com"}},
        "should match pattern",
    ),
}


@pytest.mark.parametrize(("changes", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CascadeSettings.model_validate(written(**changes))


@pytest.mark.parametrize(
    ("budget", "limit", "length_s"),
    [
        ({"per_hour": 7}, 7, 3600),
        ({"tokens_per_minute": 9}, 9, 60),
        ({"usd_per_hour": 0.25}, 250_000_000, 3600),
    ],
)
def test_budgets_by_the_clock_are_windows(
    budget: dict[str, float], limit: int, length_s: float
) -> None:
    price = {"input_usd": 0.15, "output_usd": 0.6}
    expert = {"kind": "openai", "model": "m", "price": price}
    chosen = CascadeSettings.model_validate(written(budget=budget, expert=expert)).budget
    assert chosen is not None
    assert chosen.window == Window(limit, length_s)


def test_other_budgets_have_no_window() -> None:
    assert BudgetSettings(share=0.1).window is None
    assert BudgetSettings(calls=5).window is None


def test_gates_for_each_level() -> None:
    levels = [{"name": "a"}, {"name": "b"}]
    choices: list[list[dict[str, int]]] = [[{}], [{}, {"cache": 16}]]
    for gates in choices:
        chosen = CascadeSettings.model_validate(
            written(levels=levels, policy={"kind": "paper", "gates": gates})
        )
        assert isinstance(chosen.policy, PaperSettings)
        assert len(chosen.policy.gates) == len(gates)


def test_settings_are_frozen() -> None:
    chosen = CascadeSettings.model_validate(written())
    with pytest.raises(ValidationError, match="frozen"):
        chosen.seed = 1  # type: ignore[misc]  # what is tested


def test_settings_survive_json() -> None:
    chosen = CascadeSettings.model_validate(
        written(policy="paper", levels=[{"features": {"characters": None}}])
    )
    assert CascadeSettings.model_validate_json(chosen.model_dump_json()) == chosen


def test_bounds_that_protect_the_machine() -> None:
    beyond: list[tuple[type[Section], str, int]] = [
        (FeatureSettings, "bits", 30),
        (FeatureSettings, "words", 9),
        (RetrySettings, "attempts", 1000),
        (LinearSettings, "buffer", 10**9),
    ]
    for kind, field, value in beyond:
        with pytest.raises(ValidationError, match=field):
            kind.model_validate({field: value})


@settings(max_examples=200)
@given(st.text("aZ0._-", min_size=1, max_size=70))
def test_every_name_that_settings_take_is_one_for_the_store(name: str) -> None:
    """A task or level whose name the store refuses could never publish a release."""
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        return
    assert is_name(name)
    assert is_tensor_name(f"{name}/weights")


@settings(max_examples=200)
@given(st.lists(st.text("ab .*'!", min_size=1, max_size=4), min_size=2, max_size=3))
def test_every_label_that_settings_take_can_be_told_from_the_others(labels: list[str]) -> None:
    """What the LLM says is read up to case and decoration, so labels must differ in more."""
    try:
        task = TaskSettings(name="t", labels=tuple(labels), prompt="p")
    except ValidationError:
        return
    assert [parse_label(label, task.labels) for label in task.labels] == list(task.labels)
    assert parse_label("", task.labels) is None


@pytest.mark.parametrize("breaker", [{"failures": 0}, {"first_open_s": 0}, {"first_open_s": 90}])
def test_a_breaker_that_can_not_work_is_refused(breaker: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=r"failures|first_open_s"):
        OpenAIExpertSettings.model_validate({"model": "m", "breaker": breaker})

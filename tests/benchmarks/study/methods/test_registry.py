"""Methods by name, with settings that the name carries."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from benchmarks.study.methods import METHODS, Scenario, parse_method
from operators.assembly import PARTS
from operators.settings import EncoderSettings, LinearSettings, PaperSettings

LEVELS = [{"kind": "linear", "features": {"characters": [3, 5]}}, {"kind": "encoder", "model": "m"}]
SCENARIO = Scenario("isear", LEVELS, 50, 100, PARTS, Mock())


def test_the_papers_method_has_its_published_settings() -> None:
    changes = METHODS["paper"].set_up(SCENARIO, 0.001).changes
    policy = PaperSettings.model_validate(changes["policy"])
    assert policy.mu == 0.001
    assert [gate.cache for gate in policy.gates] == [8, 16]
    assert [gate.decay for gate in policy.gates] == [0.8, 0.9]  # Table 3, ISEAR, small cascade
    linear = LinearSettings.model_validate(changes["levels"][0])
    assert (linear.features.words, linear.features.characters, linear.replay) == (1, None, 0)
    assert EncoderSettings.model_validate(changes["levels"][1]).cost == 1
    assert changes["budget"] is None


def test_a_committee_has_four_members_in_the_place_of_the_last_level() -> None:
    levels = METHODS["committee"].set_up(SCENARIO, 0).changes["levels"]
    assert [level.get("name") for level in levels] == [None, *(f"encoder-{n}" for n in range(4))]


def test_a_name_may_carry_settings() -> None:
    method = parse_method("budgeted:budget.pace=0.5,levels.0.features.bits=12,policy.audit=0")
    changes = method.set_up(SCENARIO, 0).changes
    assert changes["budget"] == {"pace": 0.5}
    assert changes["levels"][0]["features"] == {"characters": [3, 5], "bits": 12}
    assert changes["levels"][1] == LEVELS[1]
    assert changes["policy"] == {"kind": "budgeted", "audit": 0}
    assert LEVELS[0]["features"] == {"characters": [3, 5]}


@pytest.mark.parametrize("text", ["nonsense", "budgeted:pace"])
def test_what_is_no_method_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"there are .*margin|path=value"):
        parse_method(text)

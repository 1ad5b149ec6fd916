"""The paper's method with its published settings, on the levels of the study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.study.methods.port import Knob, Scenario, Setup

MU = Knob(low=2e-5, high=2e-2, rising=False)
"""The paper tunes mu for each budget."""
_LR, _BERT = (
    {"rate": 0.0007, "decay": 0.97, "calibration": 0.4, "cache": 8},
    {"rate": 0.0007, "decay": 0.95, "calibration": 0.3, "cache": 16},
)
_PUBLISHED: Mapping[str, tuple[Mapping[str, float], Mapping[str, float]]] = {
    # Table 3, small cascade, where it differs from that of IMDB and FEVER
    "hatespeech": ({**_LR, "rate": 0.001}, {**_BERT, "decay": 0.9, "calibration": 0.4}),
    "isear": (
        {**_LR, "decay": 0.8, "calibration": 0.15},
        {**_BERT, "decay": 0.9, "calibration": 0.45},
    ),
}
_NEXT_LEVEL_COST = 1.0  # Table 3, small cascade: a deferral from LR to BERT costs 1


def paper(scenario: Scenario, mu: float) -> Setup:
    """Algorithm 1: LR on words without replay, a release after each cache, no budget but mu."""
    lr, bert = _PUBLISHED.get(scenario.name, (_LR, _BERT))
    gates = [lr if level["kind"] == "linear" else bert for level in scenario.levels]
    levels: list[dict[str, Any]] = [
        {
            **level,
            "features": {**level.get("features", {}), "words": 1, "characters": None},
            "replay": 0,
        }
        if level["kind"] == "linear"
        else {**level, "cost": _NEXT_LEVEL_COST}
        for level in scenario.levels
    ]
    return Setup(
        scenario.parts,
        {
            "policy": {"kind": "paper", "mu": mu, "gates": gates},
            "levels": levels,
            "budget": None,
            "learning": {"release_every": 8, "release_growth": 0},
        },
    )

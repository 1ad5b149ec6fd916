"""All methods by name, and settings that a name may carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

from benchmarks.study.methods import refit, scores
from benchmarks.study.methods.committee import by_committee
from benchmarks.study.methods.distillation import distilled
from benchmarks.study.methods.online_ensemble import online_ensemble
from benchmarks.study.methods.paper import MU, paper
from benchmarks.study.methods.port import Method, Scenario, Setup
from benchmarks.study.methods.scored import scored


def budgeted(scenario: Scenario, _: float) -> Setup:
    """The product's default policy with its default settings."""
    return Setup(scenario.parts)


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method("budgeted", "the product's default", budgeted),
        Method("paper", "the paper's learned deferral, mu searched", paper, MU),
        Method("random", "deferral by chance", scored(None)),
        Method("max-probability", "least confidence", scored(scores.max_probability)),
        Method("margin", "smallest margin", scored(scores.margin)),
        Method("entropy", "highest entropy", scored(scores.entropy)),
        Method("committee", "query by committee, 4 bagged heads", by_committee),
        Method("distill-linear", "first N calls, then the linear level", distilled("linear")),
        Method(
            "distill-encoder",
            "first N calls, then the encoder",
            distilled("encoder"),
            needs_encoder=True,
        ),
        Method("online-ensemble", "the paper's ensemble baseline", online_ensemble),
        Method(
            "refit",
            "TRACER-like: periodic refit, calibrated acceptance, target searched",
            refit.refit,
            refit.TARGET,
            needs_encoder=True,
        ),
    )
}


def parse_method(text: str) -> Method:
    """A method by name, perhaps with settings: ``budgeted:budget.pace=1,levels.0.rate=0.2``.

    Raises
    ------
    ValueError
        If there is no such method, or a setting is not of the form path=value.
    """
    name, _, changes = text.partition(":")
    if name not in METHODS:
        message = f"no method {name!r}; there are {', '.join(METHODS)}"
        raise ValueError(message)
    method = METHODS[name]
    if not changes:
        return method
    settings = [_setting(part) for part in changes.split(",")]

    def set_up(scenario: Scenario, knob: float) -> Setup:
        made = method.set_up(scenario, knob)
        content = {
            "levels": list(scenario.levels),
            "budget": {},
            "policy": {"kind": "budgeted"},
            **made.changes,
        }
        for path, value in settings:
            content = _changed(content, path, value)
        return Setup(made.parts, content)

    return replace(method, name=text, set_up=set_up)


def _setting(part: str) -> tuple[Sequence[str], Any]:
    path, equals, value = part.partition("=")
    if not equals:
        message = f"{part!r} is no setting; write path=value, such as budget.pace=1"
        raise ValueError(message)
    return path.split("."), yaml.safe_load(value)


def _changed(content: Any, path: Sequence[str], value: Any) -> Any:
    """A copy of nested settings with one of them replaced; numbers in a path count list entries."""
    if not path:
        return value
    first, rest = path[0], path[1:]
    if isinstance(content, list):
        return [
            _changed(entry, rest, value) if str(i) == first else entry
            for i, entry in enumerate(content)
        ]
    before = dict(content or {})
    return {**before, first: _changed(before.get(first), rest, value)}

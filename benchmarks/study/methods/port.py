"""What a method is: from a scenario to the settings and parts of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from operators.assembly import Parts
from operators.levels.encoder.session import Encoder
from operators.settings import EncoderSettings


@dataclass(frozen=True)
class Scenario:
    """What a method is set up for. It knows the length of the stream, as its budget does.

    Parameters
    ----------
    name
        Of the data set.
    levels
        Settings of the small levels, cheapest first.
    calls, events
        The budget, and the length of the stream.
    parts
        The product's, on remembered embeddings.
    encoder
        Opens an encoder with these.
    """

    name: str
    levels: Sequence[Mapping[str, Any]]
    calls: int
    events: int
    parts: Parts
    encoder: Callable[[EncoderSettings], Encoder]


@dataclass(frozen=True)
class Setup:
    """Changes to the job's settings by section, and what makes its levels and policies."""

    parts: Parts
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Knob:
    """A number that a method has in the place of a budget; searched until the calls fit one.

    The search sees the whole stream, which no user could: it favours the method.

    Parameters
    ----------
    low, high
        Where to search, on a logarithmic scale.
    rising
        Whether more calls are made as it rises.
    """

    low: float
    high: float
    rising: bool


@dataclass(frozen=True)
class Method:
    """A way to decide which events the expert sees.

    Parameters
    ----------
    set_up
        The run for a scenario; the number is the knob's, 0 for a method without one.
    needs_encoder
        Whether it is only defined where the last small level is an encoder.
    """

    name: str
    what: str
    set_up: Callable[[Scenario, float], Setup]
    knob: Knob | None = None
    needs_encoder: bool = False

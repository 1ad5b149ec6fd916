"""How the endpoint behaves: its settings, and what they make of one call."""

import math
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from flink_job.demo.seeded import seeded

FailureKind = Literal["429", "500", "timeout", "nonsense", "drop"]

FAILURE_KINDS: Final[tuple[FailureKind, ...]] = get_args(FailureKind)

_DAY_S: Final = 86_400.0
# Beyond these a value is a mistake, and sooner or later a float overflows.
_MOST: Final = {
    "latency_ms_median": 1000.0 * _DAY_S,
    "latency_sigma": 5.0,
    "failure_rate": 1.0,
    "hang_s": _DAY_S,
    "retry_after_s": _DAY_S,
}


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """What the endpoint pretends to be.

    Attributes
    ----------
    model
        The model that ``GET /v1/models`` lists. Calls may name any model.
    api_key
        What callers must present as a bearer token; None lets everyone in. Not in the repr.
    seed
        Determines latencies, failures, nonsense and logprobs, with the text and the attempt.
    latency_ms_median, latency_sigma
        Of the log-normal latency. Zero median is no latency at all, zero sigma a constant one.
        At most a day, and 5.
    failure_rate
        Share of calls that fail, in [0, 1]. A call that fails at one rate fails at any higher one.
    failure_kinds
        Which failures occur, all equally often; may be empty only while `failure_rate` is 0.
        ``429`` and ``500`` are such answers, ``timeout`` holds the call for `hang_s` and then
        answers 504, ``nonsense`` answers 200 with a text that is no label, ``drop`` closes the
        connection without an answer.
    hang_s
        See ``timeout``; at most a day.
    retry_after_s
        The ``Retry-After`` header of a 429, rounded up to seconds; at most a day.

    Raises
    ------
    ValueError
        If a value is out of its range or of another type.
    """

    model: str = "demo-expert"
    api_key: str | None = field(default=None, repr=False)
    seed: int = 0
    latency_ms_median: float = 250.0
    latency_sigma: float = 0.5
    failure_rate: float = 0.0
    failure_kinds: tuple[FailureKind, ...] = FAILURE_KINDS
    hang_s: float = 30.0
    retry_after_s: float = 1

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            _check_number(name, getattr(self, name), most)
        kinds = self.failure_kinds
        known = isinstance(kinds, tuple) and all(kind in FAILURE_KINDS for kind in kinds)
        if not known or (self.failure_rate > 0 and not kinds):
            message = (
                f"failure_kinds is {kinds!r}. "
                f"Operator action: list some of {', '.join(FAILURE_KINDS)}"
            )
            raise ValueError(message)
        if self.api_key == "":
            message = "api_key is empty. Operator action: set a key, or none at all"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Conduct:
    """What one call meets: seconds before the answer, and the failure in its place, if any."""

    latency_s: float
    failure: FailureKind | None


def conduct(settings: EndpointSettings, key: str, attempt: int) -> Conduct:
    """Decide what a call meets.

    Parameters
    ----------
    settings
        As they are at the time of the call.
    key
        Stands for the text, see `answers.text_key`.
    attempt
        How often this text was asked before, from 0.

    Returns
    -------
    Conduct
        A function of the arguments alone.
    """
    rng = seeded(settings.seed, "conduct", key, attempt)
    spread = math.exp(rng.gauss(0.0, 1.0) * settings.latency_sigma)
    fails = rng.random() < settings.failure_rate
    return Conduct(
        latency_s=settings.latency_ms_median * spread / 1000.0,
        failure=rng.choice(settings.failure_kinds) if fails else None,
    )


def _check_number(name: str, value: object, most: float) -> None:
    # Settings also come from the network, where true is a number to nobody but Python.
    if isinstance(value, bool) or not isinstance(value, int | float):
        message = f"{name} is {value!r}. Operator action: give a number"
        raise ValueError(message)  # noqa: TRY004 - one error for all that is wrong with a value
    # Not a number compares false, infinity is too much.
    if not 0 <= value <= most:
        message = f"{name} is {value!r}. Operator action: give a number from 0 to {most}"
        raise ValueError(message)

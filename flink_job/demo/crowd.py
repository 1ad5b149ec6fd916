"""Who writes the posts: a few authors most of them, and a few, often others, most of the abuse."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from flink_job.demo.phrases import HANDLES

_ACTIVITY_EXPONENT = 0.8
# The smaller, the more the abuse is concentrated on a few authors.
_TEMPER_SHAPE = 0.6
# Of the original posts; with the ambiguous ones that count as abuse it makes 12 % of all.
_ABUSE_RATE = 0.107
_ABUSE_RATE_MAX = 0.6


@dataclass(frozen=True, slots=True)
class Crowd:
    """The authors of a stream.

    Attributes
    ----------
    handles
        Distinct, without ``@``, the most active first.
    activity
        Running sums of their weights, as many as handles: author i writes in proportion to
        ``(i + 1) ** -0.8``.
    abuse_rates
        For each handle the chance that a post is abusive.
    """

    handles: tuple[str, ...]
    activity: tuple[float, ...]
    abuse_rates: Mapping[str, float]

    def draw(self, rng: random.Random) -> str:
        """Draw the handle of the next author."""
        return rng.choices(self.handles, cum_weights=self.activity)[0]


def draw_crowd(rng: random.Random) -> Crowd:
    """Draw a crowd: who is how active, and who is how abusive."""
    handles = [f"{first}_{second}" for first in HANDLES["first"] for second in HANDLES["second"]]
    rng.shuffle(handles)
    weights = [rank**-_ACTIVITY_EXPONENT for rank in range(1, len(handles) + 1)]
    tempers = [rng.gammavariate(_TEMPER_SHAPE, 1.0) for _ in handles]
    mean = sum(w * t for w, t in zip(weights, tempers, strict=True)) / sum(weights)
    return Crowd(
        handles=tuple(handles),
        activity=tuple(accumulate(weights)),
        abuse_rates={
            handle: min(_ABUSE_RATE_MAX, _ABUSE_RATE * temper / mean)
            for handle, temper in zip(handles, tempers, strict=True)
        },
    )

"""What may be spent on the expert."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from operators.settings.base import PositiveShare, Section


class BudgetSettings(Section):
    """What may be spent on the expert: exactly one of the ways to say it. Hard, never exceeded."""

    calls: Annotated[int, Field(ge=0)] | None = None
    """Calls over the whole stream, failed calls and retries included."""
    events: Annotated[int, Field(ge=1)] | None = None
    """With `calls`: length of the stream in events. A bounded source knows it by itself."""
    share: PositiveShare | None = None
    """Calls as a share of the events, for a stream without an end: at no time were there more
    calls than share x (events + burst)."""
    burst: Annotated[int, Field(ge=0)] = 500
    """Events' worth of calls that may be spent ahead, with `share`."""
    pace: Annotated[float, Field(gt=0, le=2)] = 0.75
    """With `calls` and a known number of events T, calls planned by event t are
    calls x (t / T) ** pace: below 1 spends more at first, while there is most to learn."""

    @property
    def of_all_events(self) -> float | None:
        """Calls as a share of the events; None if that is not known beforehand."""
        if self.calls is not None and self.events is not None:
            return min(1.0, self.calls / self.events)
        return self.share

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.calls is None) == (self.share is None):
            message = "a budget is exactly one of `calls` and `share`"
            raise ValueError(message)
        if self.share is not None and self.events is not None:
            message = "`events` goes with `calls`; a `share` needs no length of the stream"
            raise ValueError(message)
        return self

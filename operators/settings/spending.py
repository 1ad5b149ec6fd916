"""What may be spent on the expert."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from model_store.window import Window
from operators.settings.base import PositiveShare, Section

NANOS_A_USD: Final = 1_000_000_000
"""Money is drawn in billionths of a US dollar: a call costs a few tens of millionths."""
_HOUR_S, _MINUTE_S = 3600.0, 60.0
_WAYS = ("calls", "share", "per_hour", "usd_per_hour", "tokens_per_minute")


class BudgetSettings(Section):
    """What may be spent on the expert: exactly one of the ways to say it. Hard, never exceeded."""

    calls: Annotated[int, Field(ge=0)] | None = None
    """Calls over the whole stream, failed calls and retries included."""
    events: Annotated[int, Field(ge=1)] | None = None
    """With `calls`: length of the stream in events. A bounded source knows it by itself."""
    share: PositiveShare | None = None
    """Calls as a share of the events, for a stream without an end: at no time were there more
    calls than share x (events + burst)."""
    per_hour: Annotated[int, Field(ge=1, le=10**9)] | None = None
    """Calls within any hour, failed calls and retries included."""
    usd_per_hour: Annotated[float, Field(ge=1e-6, le=1e6)] | None = None
    """US dollars within any hour, by the expert's `price`."""
    tokens_per_minute: Annotated[int, Field(ge=1, le=10**12)] | None = None
    """Tokens of prompts and answers within any minute."""
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
        if sum(getattr(self, way) is not None for way in _WAYS) != 1:
            message = f"a budget is exactly one of {', '.join(f'`{way}`' for way in _WAYS)}"
            raise ValueError(message)
        if self.calls is None and self.events is not None:
            message = "`events` goes with `calls`; no other budget needs the length of the stream"
            raise ValueError(message)
        return self

    @property
    def window(self) -> Window | None:
        """What may be drawn by the clock: calls, billionths of a dollar, or tokens."""
        if self.per_hour is not None:
            return Window(self.per_hour, _HOUR_S)
        if self.usd_per_hour is not None:
            return Window(int(self.usd_per_hour * NANOS_A_USD), _HOUR_S)
        if self.tokens_per_minute is not None:
            return Window(self.tokens_per_minute, _MINUTE_S)
        return None

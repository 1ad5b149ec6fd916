"""The clock of a replay: it goes by the stream, so that a budget by the clock means something."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby

from flink_job.settings import JobSettings, SettingsError
from flink_job.sources.blocks import Block
from operators.records import Event

_STEPS = 240  # of a budget's hour or minute: events of one step are decided together


class VirtualTime:
    """Seconds since the stream began, as far as it was replayed. Never goes back.

    A budget that does not go by the clock does not look at it either: then it stands still.

    Parameters
    ----------
    rate
        Events in a second; None goes by the times that the events have.

    Raises
    ------
    SettingsError
        If there is nothing to go by, or nothing that does.
    """

    def __init__(self, job: JobSettings, rate: float | None) -> None:
        window = job.budget.window if job.budget else None
        if window is None and rate is not None:
            message = "--rate: this budget does not go by the clock; leave --rate out"
            raise SettingsError(message)
        if window is not None and rate is None and job.files.fields.time is None:
            message = (
                "budget: a replay knows no time of its own. Operator action: name the field with "
                "the events' times (ISO 8601) in `source.fields.time`, or give `--rate`, the "
                "events that come in a second"
            )
            raise SettingsError(message)
        self._rate = rate
        self._step_s = None if window is None else window.length_s / _STEPS
        self._now_s = 0.0
        self._began: datetime | None = None
        self._seen = 0

    def __call__(self) -> float:
        """The time, in seconds."""
        return self._now_s

    def pass_through(self, block: Block) -> Iterator[tuple[int, list[Event]]]:
        """The block's chunks as (shard, events), at the time when each is to be decided."""
        step_s = self._step_s
        if step_s is None:
            yield from block.chunks.items()
            return
        timed = [
            (int(at_s / step_s), shard, at_s, event)
            for shard, events in block.chunks.items()
            for at_s, event in zip(self._times(events, block.events), events, strict=True)
        ]
        self._seen += block.events
        # Stable: the events of a shard keep their order.
        timed.sort(key=lambda entry: entry[:2])
        for (_, shard), together in groupby(timed, key=lambda entry: entry[:2]):
            chunk = list(together)
            self._now_s = max(self._now_s, chunk[-1][2])
            yield shard, [event for *_, event in chunk]

    def _times(self, events: Sequence[Event], in_block: int) -> Iterator[float]:
        """When the events of a chunk happened: each no earlier than the one before it."""
        if self._rate is not None:
            for place in range(len(events)):
                yield (self._seen + in_block * (place + 1) / len(events)) / self._rate
            return
        latest_s = self._now_s
        for event in events:
            latest_s = max(latest_s, self._since_the_first(event, latest_s))
            yield latest_s

    def _since_the_first(self, event: Event, otherwise_s: float) -> float:
        """Seconds from the first event's time to this one's, if it can be read."""
        try:
            moment = datetime.fromisoformat(event.time)
        except ValueError:
            if self._began is None:
                message = (
                    f"source.fields.time: {event.time!r} of the first event {event.id!r} is no "
                    "time. Operator action: use ISO 8601, or `--rate`, the events in a second"
                )
                raise SettingsError(message) from None
            return otherwise_s
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        self._began = self._began or moment
        return (moment - self._began).total_seconds()

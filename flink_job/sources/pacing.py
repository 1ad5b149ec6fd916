"""Lets a source read no faster than the loop learns."""

from __future__ import annotations

import logging
from collections.abc import Callable

from model_store.errors import StoreError
from model_store.ledger import Ledger, Usage

_log = logging.getLogger(__name__)
_PATIENCE_S = 5.0  # without any progress; then the source reads on, whatever holds up the loop


class Pacer:
    """Says when the next block may be read.

    A file could be read in seconds, long before the expert has taught the cascade anything. So the
    earlier events must have been decided, and no more than `max_lag` deferrals may lack a verdict.
    A loop that stands still does not stop the source for ever, nor does a ledger out of reach.

    Parameters
    ----------
    monotonic
        A clock in seconds that never goes back.
    """

    def __init__(self, ledger: Ledger, max_lag: int, monotonic: Callable[[], float]) -> None:
        self._ledger = ledger
        self._max_lag = max_lag
        self._monotonic = monotonic
        self._emitted = 0
        self._base: int | None = None  # events that were decided before this source began
        self._last: Usage | None = None
        self._since = 0.0

    def emitted(self, events: int) -> None:
        """Note that events were sent on."""
        self._emitted += events

    def ready(self) -> bool:
        """Whether to read on now; does not wait."""
        try:
            usage = self._ledger.usage()
        except StoreError as error:
            _log.warning("reading without pacing: %s", error)
            return True
        # After a restore the counts of the shards fall back, and the base with them.
        self._base = usage.seen if self._base is None else min(self._base, usage.seen)
        decided = usage.seen - self._base >= self._emitted
        if decided and usage.deferred - usage.settled <= self._max_lag:
            self._last = None
            return True
        now = self._monotonic()
        if usage != self._last:
            self._last, self._since = usage, now
        elif now - self._since > _PATIENCE_S:
            _log.warning("no progress for %s s; reading on", _PATIENCE_S)
            self._base, self._last = usage.seen - self._emitted, None
            return True
        return False

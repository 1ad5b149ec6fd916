"""Lets a source read no faster than the loop learns."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from model_store.errors import StoreError
from model_store.ledger import Ledger, Usage

_log = logging.getLogger(__name__)
_FIRST_WAIT_S, _LAST_WAIT_S = 0.05, 1.0
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
        self._note(usage)
        if self._up_to(usage, self._max_lag):
            self._last = None
            return True
        if self._stands_still(usage):
            _log.warning("no progress for %s s; reading on", _PATIENCE_S)
            self._base, self._last = usage.seen - self._emitted, None
            return True
        return False

    def settled(self) -> bool:
        """Whether all that was sent on has its decision; True too if that can not be known."""
        try:
            usage = self._ledger.usage()
        except StoreError as error:
            _log.warning("ending without pacing: %s", error)
            return True
        self._note(usage)
        if self._up_to(usage, 0):
            return True
        # After a restore the base may count events that are about to be sent on again: what can be
        # seen then is that no verdict is missing, and that nothing more comes.
        return usage.deferred <= usage.settled and self._stands_still(usage)

    def _stands_still(self, usage: Usage) -> bool:
        """Whether the counts have been the same for longer than the patience."""
        now = self._monotonic()
        if usage != self._last:
            self._last, self._since = usage, now
        return now - self._since > _PATIENCE_S

    def _note(self, usage: Usage) -> None:
        # After a restore the counts of the shards fall back, and the base with them.
        self._base = usage.seen if self._base is None else min(self._base, usage.seen)

    def _up_to(self, usage: Usage, lag: int) -> bool:
        assert self._base is not None
        decided = usage.seen - self._base >= self._emitted
        return decided and usage.deferred - usage.settled <= lag


def waits_at_the_end(longest_s: float) -> list[float]:
    """How long to wait for the last answers, bit by bit, in seconds: checkpoints fit in between.

    Parameters
    ----------
    longest_s
        How long an answer can take.
    """
    growing = [_FIRST_WAIT_S * n for n in range(1, round(_LAST_WAIT_S / _FIRST_WAIT_S))]
    return growing + [_LAST_WAIT_S] * math.ceil(longest_s / _LAST_WAIT_S)

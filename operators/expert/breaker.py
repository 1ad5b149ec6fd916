"""A circuit breaker: leaves an expert alone that does not answer, and looks in now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from operators.expert.failures import Failure
from operators.expert.port import ExpertBusy, ExpertError, ExpertUnavailable
from operators.settings import BreakerSettings

_GROWTH = 2.0  # of the time that it stays open, with every probe that fails


class Breaker:
    """Lets calls through while the expert answers.

    Closed, it lets every call through. So many failures on end, with no answer between them, open
    it: every call ends at once, unmade. When its time is over, one call goes through as a probe:
    an answer closes it, a failure opens it for longer. An answer is whatever shows that the expert
    is there, a refusal or a rate limit too.

    Parameters
    ----------
    monotonic
        A clock in seconds that never goes back.
    """

    def __init__(self, settings: BreakerSettings, monotonic: Callable[[], float]) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._failures = 0
        self._open_until: float | None = None
        self._open_s = settings.first_open_s
        self._probing = False

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Make one call inside of this.

        Raises
        ------
        ExpertError
            If the call must not be made: it never reached the expert.
        """
        probe = self._admit()
        try:
            yield
        except ExpertBusy:
            self._answered()
            raise
        except ExpertUnavailable:
            self._failed(probe)
            raise
        except ExpertError:
            self._answered()
            raise
        else:
            self._answered()
        finally:
            if probe:
                self._probing = False

    def _admit(self) -> bool:
        """Let a call through; whether it is a probe."""
        if self._open_until is None:
            return False
        if self._probing or self._monotonic() < self._open_until:
            raise ExpertError(Failure.CIRCUIT_OPEN, reached=False)
        self._probing = True
        return True

    def _answered(self) -> None:
        self._failures = 0
        self._open_until = None
        self._open_s = self._settings.first_open_s

    def _failed(self, probe: bool) -> None:
        if self._open_until is not None and not probe:
            return  # made before it opened: no news
        self._failures += 1
        if probe or self._failures >= self._settings.failures:
            self._open_until = self._monotonic() + self._open_s
            self._open_s = min(_GROWTH * self._open_s, self._settings.longest_open_s)

"""Notice between two batches that the head has moved, without a thread."""

from collections.abc import Callable
from typing import TypeVar

from model_store.errors import StoreError, StoreMisconfigured
from model_store.port import Subscription
from model_store.store import ModelStore

T = TypeVar("T")


class HeadWatcher:
    """Watch the head of one task: hints make it quick, polling makes it certain.

    Parameters
    ----------
    store
        Where the head is.
    task
        Whose head.
    poll_interval_s
        The head is read at least this often, in seconds, however silent the hints.
    monotonic
        A clock in seconds that never goes back.

    Attributes
    ----------
    failures
        How many times the store could not be asked.
    last_error
        Why, for the last of them; None again once hints and head are to be had.

    Notes
    -----
    Without a hint and before the interval is over, `poll` looks into a socket and returns. When
    it does read, a store that does not answer costs the connect timeout and its retries, once
    each interval. Not for use by several threads.
    """

    def __init__(
        self,
        store: ModelStore,
        task: str,
        *,
        poll_interval_s: float,
        monotonic: Callable[[], float],
    ) -> None:
        if poll_interval_s <= 0:
            raise StoreMisconfigured(
                f"A poll interval of {poll_interval_s} s is not positive.",
                "set an interval of some seconds.",
            )
        self.failures = 0
        self.last_error: StoreError | None = None
        self._store = store
        self._task = task
        self._poll_interval_s = poll_interval_s
        self._monotonic = monotonic
        self._next_poll_s = monotonic()
        self._subscription: Subscription | None = None
        self._returned: str | None = None

    def poll(self) -> str | None:
        """Return the head if it is not the one returned last, else None. Never raises on a store.

        The caller loads the release that it gets; where that fails, it keeps the release it has
        and calls `again`.
        """
        due = self._monotonic() >= self._next_poll_s
        if not self._hinted() and not due:
            return None
        self.last_error = None
        # Subscribe before reading: a move between the two is then hinted at, not missed.
        if self._subscription is None:
            self._subscription = self._attempt(lambda: self._store.subscribe(self._task))
        head = self._attempt(lambda: self._store.head(self._task))
        # Counted from the end, so that a store that times out is not asked without a pause.
        self._next_poll_s = self._monotonic() + self._poll_interval_s
        if head is None or head == self._returned:
            return None
        self._returned = head
        return head

    def again(self) -> None:
        """Have the next due poll return the head even if it did not move: it was not loaded."""
        self._returned = None

    def close(self) -> None:
        """End the subscription. The watcher stays usable: the next due poll subscribes again."""
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None

    def _hinted(self) -> bool:
        if self._subscription is None:
            return False
        hinted = self._attempt(self._subscription.changed)
        if hinted is None:
            self.close()
        return bool(hinted)

    def _attempt(self, operation: Callable[[], T]) -> T | None:
        try:
            return operation()
        except StoreError as error:
            self.failures += 1
            self.last_error = error
            return None

"""Takes up releases between two chunks: loaded and staged beside the deciding, then swapped in."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from dataclasses import dataclass

from model_store.errors import StoreError, StoreUnavailable
from model_store.store import ModelStore
from model_store.watch import HeadWatcher
from operators.core.cascade import Cascade, Staged


@dataclass(frozen=True)
class Uptake:
    """What became of a release.

    Parameters
    ----------
    release
        Which.
    error
        Why it does not serve; None if it does from now on.
    """

    release: str
    error: StoreError | None


class ReleaseUptake:
    """Has a cascade serve the head of its task.

    A release is megabytes to fetch, to hash and to lay out: a chunk that had to wait for it would
    be late by tens of milliseconds. The swap is a few assignments.

    Parameters
    ----------
    loader
        Runs one load at a time, best in a thread of its own.
    """

    def __init__(
        self,
        task: str,
        cascade: Cascade,
        store: ModelStore,
        watcher: HeadWatcher,
        loader: Executor,
    ) -> None:
        self._task = task
        self._cascade = cascade
        self._store = store
        self._watcher = watcher
        self._loader = loader
        self._loading: tuple[str, Future[Staged]] | None = None

    def take_up(self) -> Uptake | None:
        """Call before each chunk: never waits, but for the first release that there is.

        A cascade that knows nothing would send the chunk to the expert, or guess.

        Returns
        -------
        What became of a release since the last call, None if nothing did. One that could not be
        had for want of the store is tried again; one that does not load leaves the old one serving.
        """
        if self._loading is None:
            head = self._watcher.poll()
            if head is None:
                return None
            self._loading = head, self._loader.submit(self._stage, head)
        release, loading = self._loading
        if self._cascade.release is not None and not loading.done():
            return None
        self._loading = None
        try:
            self._cascade.swap(loading.result())
        except StoreUnavailable as error:
            self._watcher.again()
            return Uptake(release, error)
        except StoreError as error:
            return Uptake(release, error)
        return Uptake(release, None)

    def _stage(self, release: str) -> Staged:
        return self._cascade.stage(self._store.load(self._task, release))

    def close(self) -> None:
        """End the subscription and the load under way."""
        self._loader.shutdown(cancel_futures=True)
        self._watcher.close()

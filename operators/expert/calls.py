"""Calls to the expert while the stream goes on: handed over, collected when they are answered."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping

from operators.expert.desk import ExpertDesk
from operators.expert.failures import Failure
from operators.records import Answer, Deferral, Verdict

Answered = list[tuple[str, Verdict]]
"""Pairs of the name under which a deferral was handed over, and its verdict."""


class Calls:
    """Has deferrals answered on an event loop of its own, in a thread of its own.

    Nobody waits for a slow call but the event that needs it. What is under way is lost with the
    process: whoever hands a deferral over keeps it until its verdict was collected.

    Parameters
    ----------
    open_desk
        Makes the desk; called once, on the loop that will use it.
    backlog
        Deferrals that may be under way; one too many gets its verdict at once, a failure.
    """

    def __init__(self, open_desk: Callable[[], ExpertDesk], backlog: int) -> None:
        self._open_desk = open_desk
        self._backlog = backlog
        self._changed = threading.Condition()
        self._under_way: dict[str, int] = defaultdict(int)
        self._answered: dict[str, Answered] = defaultdict(list)
        self._error: BaseException | None = None
        self._desk: ExpertDesk | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps none alive
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="expert", daemon=True)
        self._thread.start()

    def hand_over(self, group: str, deferrals: Mapping[str, Deferral]) -> None:
        """Have these answered; returns at once.

        Parameters
        ----------
        group
            What is collected together.
        deferrals
            By names that no other deferral of the group has.
        """
        with self._changed:
            room = max(0, self._backlog - sum(self._under_way.values()))
            names = list(deferrals)
            taken = {name: deferrals[name] for name in names[:room]}
            for name in names[room:]:
                refused = Verdict(deferrals[name], Answer(None, Failure.OVERLOADED))
                self._answered[group].append((name, refused))
            self._under_way[group] += len(taken)
        if taken:
            self._loop.call_soon_threadsafe(self._begin, group, taken)

    def collect(self, group: str) -> Answered:
        """Verdicts that have come since the last time.

        Raises
        ------
        BaseException
            Whatever kept the desk from answering at all: a wrong setting, or a bug.
        """
        with self._changed:
            return self._take(group)

    def wait_for(self, group: str) -> Answered:
        """Wait until nothing of the group is under way, and collect. Raises as `collect`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way[group] or self._error is not None)
            return self._take(group)

    def under_way(self, group: str) -> bool:
        """Whether verdicts of the group are still to be collected."""
        with self._changed:
            return bool(self._under_way[group] or self._answered[group])

    def close(self) -> None:
        """Abandon what is under way, and let go of the expert's connections."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _take(self, group: str) -> Answered:
        if self._error is not None:
            raise self._error
        return self._answered.pop(group, [])

    def _begin(self, group: str, deferrals: Mapping[str, Deferral]) -> None:
        task = self._loop.create_task(self._answer(group, deferrals))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    async def _answer(self, group: str, deferrals: Mapping[str, Deferral]) -> None:
        if self._desk is None:
            self._desk = self._open_desk()
        names = list(deferrals)
        async for number, verdict in self._desk.as_answered(list(deferrals.values())):
            with self._changed:
                self._under_way[group] -= 1
                self._answered[group].append((names[number], verdict))
                self._changed.notify_all()

    async def _shut(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._desk is not None:
            await self._desk.close()

"""The expert inside Flink: an async function in a task chain of its own."""

from __future__ import annotations

from pyflink.datastream.functions import AsyncFunction, RuntimeContext

from operators.assembly import build_desk
from operators.core.verdicts import to_decision, to_lesson
from operators.expert.desk import ExpertDesk
from operators.flink.connection import StoreConnection
from operators.records import Deferral, pack, to_json_lines, unpack
from operators.settings import CascadeSettings


class ExpertFunction(AsyncFunction):
    """Chunk of deferrals in; its decisions and its lesson out. Raises for nothing the expert does.

    Calls in flight are no state: after a failure their deferrals come again, and those that were
    answered get the answer that the ledger remembers. Timeouts are the client's, inside the
    coroutine: Flink's own would cost a thread for each record and cancel nothing.
    """

    def __init__(self, settings: CascadeSettings, connection: StoreConnection) -> None:
        self._settings = settings
        self._connection = connection
        self._desk: ExpertDesk | None = None

    def open(self, runtime_context: RuntimeContext) -> None:
        """Reach the ledger."""
        self._ledger = self._connection.ledger()

    async def async_invoke(self, value: tuple[int, bytes]) -> list[tuple[str, bytes]]:
        """Answer a chunk of deferrals."""
        if self._desk is None:  # the client belongs to the event loop, which runs only now
            self._desk = build_desk(self._settings, self._ledger)
        verdicts = await self._desk.answer(unpack(bytes(value[1]), Deferral))
        labels = self._settings.task.labels
        decisions = [to_decision(verdict, labels) for verdict in verdicts]
        return [(to_json_lines(decisions), pack([to_lesson(verdicts, labels)]))]

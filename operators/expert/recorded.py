"""An expert that replays recorded answers of an LLM, for studies and for free."""

from __future__ import annotations

from collections.abc import Sequence

from operators.expert.failures import Failure
from operators.expert.port import ExpertRefused, Reply
from operators.expert.prompt import parse_label
from operators.records import Event


class RecordedExpert:
    """Answers with what the source recorded beside the event.

    Parameters
    ----------
    labels
        The task's labels; a record that is none of them is no answer.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels

    async def ask(self, event: Event) -> Reply:
        """Read the record.

        Raises
        ------
        ExpertRefused
            If there is none, or it is none of the labels.
        """
        if not event.recorded:
            raise ExpertRefused(Failure.NO_RECORD)
        label = parse_label(event.recorded, self._labels)
        if label is None:
            raise ExpertRefused(Failure.NONSENSE)
        return Reply(label)

    def most_tokens(self, event: Event) -> tuple[int, int]:
        """A record takes none."""
        return 0, 0

    async def close(self) -> None:
        """Nothing to let go of."""

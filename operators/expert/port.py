"""What an expert is: one call, one label, or an error that says whether to try again.

::

    ExpertError
    ├── ExpertUnavailable   trying again may help: server error, timeout, connection
    │   └── ExpertBusy      it is there, and asks to come back later: rate limit
    └── ExpertRefused       trying again will not help: no label in the answer, wrong key, no record
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from operators.records import Event


@dataclass(frozen=True)
class Reply:
    """A label from one call, and what the call cost."""

    label: str
    tokens_in: int = 0
    tokens_out: int = 0


class ExpertError(Exception):
    """No label came of a call.

    Parameters
    ----------
    kind
        Short name of what happened, for metrics and decisions.
    tokens_in, tokens_out
        What was paid all the same.
    reached
        Whether the expert may have got the request: False only where that is out of the question,
        for such a call is not paid.
    """

    def __init__(
        self,
        kind: str,
        *,
        retry_after_s: float | None = None,
        tokens_in: int = 0,
        tokens_out: int = 0,
        reached: bool = True,
    ) -> None:
        self.kind = kind
        self.retry_after_s = retry_after_s
        self.tokens_in = tokens_in
        self.tokens_out = tokens_out
        self.reached = reached
        super().__init__(kind)


class ExpertUnavailable(ExpertError):
    """The expert could not answer now; another call may."""


class ExpertBusy(ExpertUnavailable):
    """The expert is there, but asks to be left alone for a while."""


class ExpertRefused(ExpertError):
    """The expert gave no usable answer, and the same call would end the same way."""


class Expert(Protocol):
    """The expert of a task. Never answers with anything but one of the task's labels."""

    async def ask(self, event: Event) -> Reply:
        """Make one call.

        Raises
        ------
        ExpertError
            If it ended without a label.
        """

    def most_tokens(self, event: Event) -> tuple[int, int]:
        """The most tokens that a call about the event can take: of the prompt, of the answer."""

    async def close(self) -> None:
        """Let go of connections."""

"""Why a deferral has no answer of the expert: every reason there is."""

from __future__ import annotations

from enum import StrEnum


class Failure(StrEnum):
    """A reason, as it stands in decisions; each has a metric of its own."""

    CONNECTION = "connection"
    """Nobody listens, or the connection broke."""
    TIMEOUT = "timeout"
    """No answer in time."""
    RATE_LIMIT = "rate_limit"
    """The provider asks to be left alone for a while."""
    SERVER_ERROR = "server_error"
    """The provider's own fault."""
    HTTP = "http"
    """The request was refused; in decisions with its status, as in `http_401`."""
    NONSENSE = "nonsense"
    """An answer that is none of the labels."""
    MALFORMED = "malformed"
    """An answer that is no chat completion: somebody else answers there."""
    NO_RECORD = "no_record"
    """The recorded expert has no answer to the event."""
    CIRCUIT_OPEN = "circuit_open"
    """Not asked: too many calls have failed on end."""
    OVERLOADED = "overloaded"
    """Not asked: too many deferrals were waiting."""
    BUDGET = "budget"
    """Not asked, or not again: nothing was left to spend."""
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    """Not asked, or not again: nobody can say what is left to spend."""


def http(status: int) -> str:
    """What stands in a decision for a request that was refused with a status."""
    return f"{Failure.HTTP}_{status}"


def family(kind: str) -> str:
    """The reason behind what stands in a decision: a status is left out."""
    return Failure.HTTP if kind.startswith(f"{Failure.HTTP}_") else kind

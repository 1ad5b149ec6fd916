"""What the doctor says about one thing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a thing is."""

    OK = "ok"
    WARNING = "warning"
    """A job runs with it, and may not do what is expected."""
    BAD = "bad"
    """No job runs like that."""


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at.

    Parameters
    ----------
    what
        Its name.
    detail
        What was found.
    fix
        What the operator can do; empty if it is ok.
    """

    what: str
    state: State
    detail: str
    fix: str = ""


def ok(what: str, detail: str) -> Diagnosis:
    """It is as it should be."""
    return Diagnosis(what, State.OK, detail)


def warning(what: str, detail: str, fix: str) -> Diagnosis:
    """It will do, but."""
    return Diagnosis(what, State.WARNING, detail, fix)


def bad(what: str, detail: str, fix: str) -> Diagnosis:
    """It will not do."""
    return Diagnosis(what, State.BAD, detail, fix)

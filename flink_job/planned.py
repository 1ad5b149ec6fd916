"""Operators that Flink's table planner makes, and how a savepoint finds their state again."""

from __future__ import annotations

from typing import Any

# The planner's last operator on the way to what it did not make.
_BOUNDARY = "DataStreamToTable"


def name_planned(last: Any, prefix: str) -> None:
    """Give stable uids to the operators that the planner made up to a transformation of the JVM.

    A savepoint finds its state by uid, and the planner's own numbers depend on what else it has
    planned.
    """
    waiting, number = [last], 0
    while waiting:
        planned = waiting.pop()
        if planned.getUid() is None:
            planned.setUid(f"{prefix}-{number}")
        number += 1
        if planned.getName() != _BOUNDARY:
            waiting.extend(planned.getInputs())


def transformation_of(stream: Any) -> Any:
    """The transformation of the JVM behind a stream of PyFlink."""
    return stream._j_data_stream.getTransformation()  # noqa: SLF001  # no public way

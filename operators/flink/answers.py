"""Verdicts taken apart: decisions go on, annotations and audits are told on the side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pyflink.datastream.functions import ProcessFunction

from operators.core.telling import tell_annotations, tell_audits
from operators.flink.types import ANNOTATIONS, EVIDENCE
from operators.records import Lesson, to_json_lines, unpack


class AnswersFunction(ProcessFunction):
    """(decisions as lines, lesson) in; decisions as lines out.

    Parameters
    ----------
    labels
        The task's.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels

    def process_element(
        self, value: tuple[str, bytes], ctx: ProcessFunction.Context
    ) -> Iterator[Any]:
        """Take one chunk of verdicts apart."""
        decisions, data = value
        (lesson,) = unpack(bytes(data), Lesson)
        if lesson.annotations:
            yield ANNOTATIONS, to_json_lines(tell_annotations(lesson, self._labels))
        if lesson.audits:
            yield EVIDENCE, to_json_lines(tell_audits(lesson, self._labels))
        yield decisions

"""Decisions as the job's sink wrote them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from flink_job.evaluation.errors import EvaluationError
from operators.records import Decision

_IN_PROGRESS = ".inprogress"
"""In the name of a part file that Flink has not committed: its lines may yet be taken back."""


def read_decisions(folder: Path) -> list[Decision]:
    """Read every committed decision below a folder.

    Parameters
    ----------
    folder
        Where the sink wrote; all ``*.jsonl`` in it and in its sub-folders are read. Hidden and
        uncommitted files are not.

    Returns
    -------
    list of Decision
        File by file in the order of their paths: the order of the stream only by accident.

    Raises
    ------
    EvaluationError
        If there is no such folder, or a line is no decision.
    """
    if not folder.is_dir():
        raise EvaluationError(
            f"{folder} is no folder.", "give the folder that the job wrote its decisions to."
        )
    decoder = msgspec.json.Decoder(Decision)
    decisions: list[Decision] = []
    for path in sorted(folder.rglob("*.jsonl")):
        if path.is_file() and _is_committed(path.relative_to(folder)):
            decisions += _read_file(path, decoder)
    return decisions


def _is_committed(path: Path) -> bool:
    return not any(part.startswith(".") or _IN_PROGRESS in part for part in path.parts)


def _read_file(path: Path, decoder: msgspec.json.Decoder[Decision]) -> list[Decision]:
    decisions: list[Decision] = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            # A chunk without decisions is written as an empty line.
            if line.isspace():
                continue
            try:
                decisions.append(decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise EvaluationError(
                    f"{path}, line {number}, is no decision: {error}.",
                    "keep files of other origin out of the folder; a line that is cut off comes "
                    "from a copy made while the job wrote.",
                ) from error
    return decisions

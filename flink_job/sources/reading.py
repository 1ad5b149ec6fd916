"""CSV and JSON Lines files, gzipped or not, as a sequence of rows that never stops at a bad one."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from flink_job.settings import SettingsError
from flink_job.source_settings import FileSourceSettings

_ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_RAW_KEPT = 2000  # characters of a bad input that its dead letter shows
_ESCAPE = "surrogateescape"  # keeps bytes that are no UTF-8, to be found and reported


@dataclass(frozen=True)
class Row:
    """One row of a file, or record of another source.

    Parameters
    ----------
    line
        Where it stands: its last line in the file, counted from 1, its offset, or its entry's id.
    values
        Its fields, or None if it could not be read as a row.
    error
        Why not.
    raw
        The input as it was, cut.
    """

    line: int | str
    values: dict[str, Any] | None
    error: str | None = None
    raw: str = ""


def list_files(settings: FileSourceSettings) -> list[Path]:
    """The files of a source, in order of their names.

    Raises
    ------
    SettingsError
        If there is nothing to read, or a file's format can not be told.
    """
    path = settings.path
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if is_input(f, settings))
        if not files and not settings.watch:
            message = f"source.path: the folder {path} holds no .csv, .jsonl or .ndjson file"
            raise SettingsError(message)
        return files
    if settings.watch:
        message = f"source.path: {path} is no folder; only a folder can be watched"
        raise SettingsError(message)
    if not path.is_file():
        message = f"source.path: there is no file or folder {path}"
        raise SettingsError(message)
    if settings.format is None and _ending(path) is None:
        message = f"source.format: {path.name} tells nothing by its ending; write csv or jsonl"
        raise SettingsError(message)
    return [path]


def is_input(path: Path, settings: FileSourceSettings) -> bool:
    """Whether a file in a source's folder is to be read."""
    return (
        path.is_file()
        and not path.name.startswith((".", "_"))
        and _is_utf8(path.name)
        and (settings.format is not None or _ending(path) is not None)
    )


def _is_utf8(name: str) -> bool:
    # Other names can be opened, but in no record: they stand in dead letters and in ids.
    return not any("\udc80" <= character <= "\udcff" for character in name)


def _ending(path: Path) -> str | None:
    name = Path(path.stem) if path.suffix == ".gz" else path
    return _ENDINGS.get(name.suffix)


def read_rows(path: Path, settings: FileSourceSettings, columns: Collection[str]) -> Iterator[Row]:
    """Rows of a file, good and bad, in order.

    Parameters
    ----------
    columns
        What a CSV file must have in its header. JSON objects are looked at one by one, later.

    Raises
    ------
    SettingsError
        If a CSV file lacks a column, or a gzip file is cut off or damaged; the rows before the
        damage have been given.
    OSError
        If the file can not be read.
    """
    kind = settings.format or _ending(path)
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        try:
            if kind == "csv":
                yield from _csv_rows(file, path, columns, settings.longest)
            else:
                yield from _json_rows(file, settings.longest)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            message = (
                f"source.path: {path} is no whole gzip file: {error}. "
                "Operator action: copy it again, or take it out."
            )
            raise SettingsError(message) from error


def _json_rows(file: gzip.GzipFile | io.BufferedReader, longest: int) -> Iterator[Row]:
    most = longest + len("\r\n")
    for number in count(1):
        line = file.readline(most)
        if not line:
            return
        raw = line.decode("utf-8", "backslashreplace").rstrip("\n")[:_RAW_KEPT]
        cut_off = len(line) == most and not line.endswith(b"\n")
        if cut_off or len(line.rstrip(b"\r\n")) > longest:
            while line and not line.endswith(b"\n"):
                line = file.readline(most)
            yield Row(number, None, f"a line of more than {longest} bytes (source.longest)", raw)
            continue
        if not line.strip():
            continue
        yield read_object(number, line)


def read_object(number: int | str, content: bytes) -> Row:
    """The row that a JSON object makes; `number` says where it stands."""
    raw = content[: 4 * _RAW_KEPT].decode("utf-8", "backslashreplace").rstrip("\n")[:_RAW_KEPT]
    try:
        values = json.loads(content)
    except ValueError as error:  # UnicodeDecodeError too
        return Row(number, None, f"no JSON: {error}", raw)
    except RecursionError:
        return Row(number, None, "no JSON: nested too deeply", raw)
    if isinstance(values, dict):
        return Row(number, values, raw=raw)
    return Row(number, None, f"a JSON object is needed, not {type(values).__name__}", raw)


class _Lines:
    """Lines of a CSV file that know where the record begins that is being read."""

    def __init__(self, text: io.TextIOBase) -> None:
        self._text = text
        self._number = 0
        self.ended = False
        """Whether a record asked for more than the file has: a quote in it was never closed."""
        self.begin()

    def begin(self) -> None:
        """A record begins with the next line."""
        self.first = self._number + 1
        self.raw = ""

    def __iter__(self) -> Iterator[str]:
        for line in self._text:
            self._number += 1
            self.raw = self.raw or line[:_RAW_KEPT]
            yield line
        self.ended = True

    def lost(self) -> str:
        """Which lines are lost with a record."""
        if self._number <= self.first:
            return ""
        lines = self._number - self.first + 1
        return f"; {lines} lines are lost with it, {self.first} to {self._number}"


def _csv_rows(
    file: gzip.GzipFile | io.BufferedReader, path: Path, columns: Collection[str], longest: int
) -> Iterator[Row]:
    csv.field_size_limit(longest)
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors=_ESCAPE, newline="") as text:
        lines = _Lines(text)
        reader = csv.reader(lines)
        try:
            header = next(reader, None)
        except csv.Error as error:
            message = f"source.path: {path.name} has no header that can be read: {error}"
            raise SettingsError(message) from error
        if header is None:
            return
        _check_header(header, path, columns)
        while True:
            lines.begin()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                hint = " (source.longest); is a quote not closed?"
                what = f"no CSV: {error}{hint}{lines.lost()}"
                yield Row(reader.line_num, None, what, _printable([lines.raw]))
                continue
            if not cells:
                continue
            if lines.ended:
                what = f"no CSV: a quote is not closed{lines.lost()}"
                yield Row(reader.line_num, None, what, _printable(cells))
                continue
            yield _csv_row(header, cells, reader.line_num, lines.lost())


def _check_header(header: list[str], path: Path, columns: Collection[str]) -> None:
    for name in columns:
        if header.count(name) != 1:
            found = "no" if name not in header else "more than one"
            message = (
                f"source.fields: {path.name} has {found} column {name!r}; its columns are "
                f"{_printable(header)}"
            )
            raise SettingsError(message)


def _csv_row(header: list[str], cells: list[str], line: int, lost: str) -> Row:
    raw = _printable(cells)
    if len(cells) != len(header):
        return Row(line, None, f"{len(cells)} cells in a row of {len(header)} columns{lost}", raw)
    return Row(line, dict(zip(header, cells, strict=True)), raw=raw)


def _printable(cells: list[str]) -> str:
    """A row as text that can be written anywhere, cut."""
    row = ",".join(cells)[:_RAW_KEPT]
    if row.isascii():
        return row
    return row.encode("utf-8", _ESCAPE).decode("utf-8", "backslashreplace")[:_RAW_KEPT]

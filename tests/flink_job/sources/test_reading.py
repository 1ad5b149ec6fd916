from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_job.settings import SettingsError
from flink_job.source_settings import FileSourceSettings
from flink_job.sources.reading import Row, is_input, list_files, read_rows

COLUMNS = ("id", "text")


def rows_of(
    folder: Path, name: str, data: bytes, columns: tuple[str, ...] = COLUMNS, **chosen: Any
) -> list[Row]:
    path = folder / name
    path.write_bytes(data)
    return list(read_rows(path, FileSourceSettings(path=path, **chosen), columns))


def texts(rows: list[Row]) -> list[Any]:
    return [row.values and row.values.get("text") for row in rows]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b'id,text\n1,"a\nb"\n2,c\n'),
        ("bom.csv", b'\xef\xbb\xbfid,text\r\n1,"a\nb"\r\n2,c\r\n'),
        ("old-mac.csv", b'id,text\r1,"a\nb"\r2,c'),
        ("quoted-header.csv", b'"id","text"\n\n1,"a\nb"\n\n\n2,c'),
        ("more.csv", b'x,text,id\n,"a\nb",1\n,c,2\n'),
        ("a.jsonl", b'{"id": 1, "text": "a\\nb"}\n{"id": 2, "text": "c"}'),
        ("bom.jsonl", b'\xef\xbb\xbf{"text": "a\\nb"}\r\n\r\n   \n{"text": "c"}\r\n'),
        ("b.ndjson", b'{"text": "x", "text": "a\\nb"}\n\n{"text": "c"}\n'),
    ],
)
def test_good_files(tmp_path: Path, name: str, data: bytes) -> None:
    rows = rows_of(tmp_path, name, data)
    assert texts(rows) == ["a\nb", "c"]
    assert texts(rows_of(tmp_path, f"{name}.gz", gzip.compress(data))) == ["a\nb", "c"]


@pytest.mark.parametrize(
    ("name", "data"), [("a.csv", b""), ("b.csv", b"id,text\r\n"), ("c.jsonl", b"\n \n")]
)
def test_files_with_nothing_in_them(tmp_path: Path, name: str, data: bytes) -> None:
    assert rows_of(tmp_path, name, data) == []


def test_the_format_of_the_settings_comes_before_the_ending(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    path.write_bytes(b'{"text": "a"}\n')
    (row,) = read_rows(path, FileSourceSettings(path=path, format="jsonl"), COLUMNS)
    assert row.values == {"text": "a"}


def test_lines_are_numbered_as_an_editor_does(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "a.csv", b'id,text\n1,"a\nb"\n\n2,c\n3\n')
    assert [row.line for row in rows] == [3, 5, 6]
    rows = rows_of(tmp_path, "a.jsonl", b'\n{"text": 1}\n\nx\n')
    assert [row.line for row in rows] == [2, 4]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"1", "2 columns"),
        (b"1,a,b", "3 cells in a row of 2 columns"),
        (b'1,"a",', "3 cells"),
    ],
)
def test_a_ragged_row_is_reported_and_the_next_is_read(
    tmp_path: Path, line: bytes, error: str
) -> None:
    bad, good = rows_of(tmp_path, "a.csv", b"id,text\n" + line + b"\n2,c\n")
    assert bad.values is None
    assert error in str(bad.error)
    assert bad.raw
    assert good.values == {"id": "2", "text": "c"}


def test_nul_bytes_and_bytes_that_are_no_utf8_stay_in_their_row(tmp_path: Path) -> None:
    nul, latin, good = rows_of(tmp_path, "a.csv", b"id,text\n1,a\0b\n2,caf\xe9\n3,c\n")
    assert nul.values == {"id": "1", "text": "a\0b"}
    assert latin.values is not None
    assert latin.raw == r"2,caf\xe9"
    assert good.values == {"id": "3", "text": "c"}


def test_a_field_that_is_too_long(tmp_path: Path) -> None:
    data = b"id,text\n1," + b"x" * 2000 + b"\n2,c\n"
    bad, good = rows_of(tmp_path, "a.csv", data, longest=1000)
    assert "field larger than field limit (1000) (source.longest)" in str(bad.error)
    assert bad.line == 2
    assert bad.raw.startswith("1,xxx")
    assert good.values == {"id": "2", "text": "c"}
    assert rows_of(tmp_path, "a.csv", data)[0].values == {"id": "1", "text": "x" * 2000}
    with pytest.raises(SettingsError, match=r"b.csv has no header that can be read"):
        rows_of(tmp_path, "b.csv", b"x" * 2000, longest=1000)


def test_a_quote_that_is_not_closed_says_which_lines_it_takes_with_it(tmp_path: Path) -> None:
    tail = b"".join(b"%d,good\n" % i for i in range(3, 500))
    good, bad = rows_of(tmp_path, "a.csv", b'id,text\n1,a\n2,"b\n' + tail)
    assert good.values == {"id": "1", "text": "a"}
    assert bad.error == "no CSV: a quote is not closed; 498 lines are lost with it, 3 to 500"
    assert (bad.line, len(bad.raw)) == (500, 2000)


def test_a_quote_that_is_not_closed_loses_no_more_than_the_longest_field(tmp_path: Path) -> None:
    tail = b"".join(b"%03d,good\n" % i for i in range(3, 500))
    _, bad, *good = rows_of(tmp_path, "a.csv", b'id,text\n1,a\n2,"b\n' + tail, longest=100)
    assert "is a quote not closed?; 12 lines are lost with it, 3 to 14" in str(bad.error)
    assert bad.raw == '2,"b\n'
    assert [row.values and row.values["id"] for row in good] == [f"{i:03}" for i in range(14, 500)]


def test_a_ragged_row_of_several_lines_says_so(tmp_path: Path) -> None:
    bad, good = rows_of(tmp_path, "a.csv", b'id,text\n1,"a\n2,"b,c\n3,d\n')
    assert bad.error == "3 cells in a row of 2 columns; 2 lines are lost with it, 2 to 3"
    assert good.values == {"id": "3", "text": "d"}


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_a_line_that_is_too_long_is_left_out(tmp_path: Path, end: bytes) -> None:
    lines = [b'{"text": "' + b"x" * n + b'"}' for n in (88, 89, 5000)]
    rows = rows_of(tmp_path, "a.jsonl", b"\n".join([*lines, lines[0]]) + end, longest=100)
    assert [row.line for row in rows] == [1, 2, 3, 4]
    assert [row.values is None for row in rows] == [False, True, True, False]
    assert rows[2].error == "a line of more than 100 bytes (source.longest)"
    assert len(rows[2].raw) == 102
    (blank,) = rows_of(tmp_path, "b.jsonl", b" " * 5000 + b"\n\n", longest=100)
    assert blank.values is None


def test_a_huge_field_is_read_and_its_excerpt_is_short(tmp_path: Path) -> None:
    big = b"x" * 3_000_000
    (row,) = rows_of(tmp_path, "a.csv", b"id,text\n1," + big + b"\n", longest=4_000_000)
    assert row.values == {"id": "1", "text": big.decode()}
    assert len(row.raw) == 2000
    (row,) = rows_of(tmp_path, "a.jsonl", b'{"text": "' + big + b'"}', longest=4_000_000)
    assert row.values == {"text": big.decode()}
    assert len(row.raw) == 2000


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (b"id,txt", "a.csv has no column 'text'; its columns are id,txt"),
        (b"id;text", "a.csv has no column 'id'"),
        (b"id,text,text", "a.csv has more than one column 'text'"),
        (b"\xff\xfei\0d\0", r"its columns are \xff\xfei"),
        (b"id," + b"x" * 5000, "has no column 'text'"),
    ],
)
def test_a_header_without_a_column(tmp_path: Path, header: bytes, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        rows_of(tmp_path, "a.csv", header + b"\n1,a\n")
    message = str(caught.value)
    assert message.startswith("source.fields: ")
    assert says in message
    message.encode()  # it is printed, and written into a dead letter
    assert len(message) < 2500


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"[1, 2]", "a JSON object is needed, not list"),
        (b"null", "not NoneType"),
        (b'"text"', "not str"),
        (b"{'text': 1}", "no JSON"),
        (b'{"text": "a"', "no JSON"),
        (b'{"text": "a"}}', "no JSON: Extra data"),
        (b'{"text": "a\tb"}', "no JSON: Invalid control character"),
        (b'{"text": "\xff"}', "no JSON: 'utf-8' codec can't decode"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"id": ' + b"1" * 5000 + b"}", "no JSON: Exceeds the limit"),
    ],
)
def test_a_line_that_is_no_object_is_reported_and_the_next_is_read(
    tmp_path: Path, line: bytes, error: str
) -> None:
    bad, good = rows_of(tmp_path, "a.jsonl", line + b'\n{"text": "c"}\n')
    assert bad.values is None
    assert error in str(bad.error)
    assert bad.raw == line.decode("utf-8", "backslashreplace")[:2000]
    assert good.values == {"text": "c"}


def test_of_a_key_that_stands_there_twice_the_last_counts(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "a.jsonl", b'{"text": "a", "text": "b"}')
    assert row.values == {"text": "b"}


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz"])
def test_a_gzip_file_that_is_cut_off_gives_what_it_has_and_then_says_so(
    tmp_path: Path, name: str
) -> None:
    lines = [b"id,text"] if "csv" in name else []
    numbers = os.urandom(60_000).hex()  # does not compress away
    for i in range(1000):
        text = numbers[i * 100 : i * 100 + 100]
        line = f"{i},{text}" if "csv" in name else json.dumps({"id": i, "text": text})
        lines.append(line.encode())
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"\n".join(lines))[:-2000])
    rows: list[Row] = []
    with pytest.raises(SettingsError) as caught:
        rows.extend(read_rows(path, FileSourceSettings(path=path), COLUMNS))
    assert 100 < len(rows) < 1000
    assert all(row.values for row in rows)
    assert str(path) in str(caught.value)
    assert "Operator action: copy it again" in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"no gzip at all", gzip.compress(b"{}" * 500, mtime=0)[:15] + b"\xff" * 9]
)
def test_a_gzip_file_that_is_damaged(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(SettingsError, match="no whole gzip file"):
        rows_of(tmp_path, "a.jsonl.gz", data)


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=8))
def test_every_line_of_any_json_lines_file_is_a_row(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    rows = rows_of(tmp_path_factory.getbasetemp(), "any.jsonl", b"\n".join(lines))
    assert [row.line for row in rows] == [n for n, line in enumerate(lines, 1) if line.strip()]
    for row in rows:
        assert (row.values is None) == (row.error is not None)
        row.raw.encode()


@settings(max_examples=100, deadline=None)
@given(data=st.one_of(st.binary(max_size=80), st.text('ab",\r\n\0é').map(str.encode)))
def test_any_csv_file_is_read_to_its_end(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    rows = rows_of(
        tmp_path_factory.getbasetemp(), "any.csv", b"id,text\n" + data + b'\n"\n9,end\n', ()
    )
    assert [row.line for row in rows] == sorted(row.line for row in rows)
    assert rows[-1].raw.endswith("9,end\n") or rows[-1].values == {"id": "9", "text": "end"}
    for row in rows:
        assert (row.values is None) == (row.error is not None)
        row.raw.encode()


def test_files_of_a_folder_in_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.csv", "c.csv.gz", "_d.csv", ".e.csv", "f.txt", "g.jsonl.part", "gz"):
        (tmp_path / name).touch()
    (tmp_path / "h.csv").mkdir()
    (tmp_path / "i.csv").symlink_to(tmp_path / "nowhere")
    named = [f.name for f in list_files(FileSourceSettings(path=tmp_path))]
    assert named == ["a.csv", "b.jsonl", "c.csv.gz"]
    every = [f.name for f in list_files(FileSourceSettings(path=tmp_path, format="csv"))]
    assert every == ["a.csv", "b.jsonl", "c.csv.gz", "f.txt", "g.jsonl.part", "gz"]


def test_a_name_that_is_no_utf8_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.csv")
    path.touch()
    assert not is_input(path, FileSourceSettings(path=tmp_path))
    assert is_input(path.rename(tmp_path / "café.csv"), FileSourceSettings(path=tmp_path))


@pytest.mark.parametrize(
    ("name", "watch", "says"),
    [
        ("empty", False, r"source.path: the folder .*empty holds no .csv, .jsonl or .ndjson file"),
        ("none.csv", False, r"source.path: there is no file or folder .*none.csv"),
        ("none.csv", True, r"source.path: .*none.csv is no folder; only a folder can be watched"),
        ("posts.txt", False, r"source.format: posts.txt tells nothing by its ending"),
        ("posts.gz", False, r"source.format: posts.gz tells nothing by its ending"),
        ("posts.csv", True, r"only a folder can be watched"),
    ],
)
def test_a_source_that_can_not_be_read(tmp_path: Path, name: str, watch: bool, says: str) -> None:
    (tmp_path / "empty").mkdir()
    for file in ("posts.txt", "posts.gz", "posts.csv"):
        (tmp_path / file).touch()
    with pytest.raises(SettingsError, match=says):
        list_files(FileSourceSettings(path=tmp_path / name, watch=watch))


def test_a_watched_folder_may_still_be_empty(tmp_path: Path) -> None:
    assert list_files(FileSourceSettings(path=tmp_path, watch=True)) == []

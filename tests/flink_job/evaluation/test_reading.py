from pathlib import Path

import pytest

from flink_job.evaluation import EvaluationError, read_decisions
from operators.records import Decision, Reason, to_json_lines


def decision(name: str) -> Decision:
    return Decision(
        name, "k", "t", "", "yes", (0.2, 0.8), "linear", "r1", Reason.ACCEPTED, 0.1, failure=None
    )


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_reads_part_files_of_all_sub_folders(tmp_path: Path) -> None:
    write(tmp_path / "2024-01-01" / "part-0.jsonl", to_json_lines([decision("a"), decision("b")]))
    write(tmp_path / "2024-01-02" / "part-0.jsonl", to_json_lines([decision("c\u2028\n")]) + "\n")
    assert read_decisions(tmp_path) == [decision("a"), decision("b"), decision("c\u2028\n")]


@pytest.mark.parametrize(
    "name",
    [
        ".part-0.jsonl",
        "part-0.jsonl.inprogress.x",
        "part-0.inprogress.x.jsonl",
        ".tmp/p.jsonl",
        "x.json",
    ],
)
def test_leaves_out_what_is_not_committed(tmp_path: Path, name: str) -> None:
    write(tmp_path / "part-0.jsonl", to_json_lines([decision("a")]))
    write(tmp_path / name, to_json_lines([decision("b")]))
    assert [read.id for read in read_decisions(tmp_path)] == ["a"]


def test_a_hidden_folder_above_does_not_hide_the_decisions(tmp_path: Path) -> None:
    write(tmp_path / ".runs" / "part-0.jsonl", to_json_lines([decision("a")]))
    assert len(read_decisions(tmp_path / ".runs")) == 1


def test_an_empty_line_is_an_empty_chunk(tmp_path: Path) -> None:
    write(tmp_path / "part-0.jsonl", f"\n{to_json_lines([decision('a')])}\n\n")
    assert len(read_decisions(tmp_path)) == 1


@pytest.mark.parametrize("bad", ["{", "{}", "[1]", '{"id": 7}', "\udcff"])
def test_a_bad_line_is_named(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "part-0.jsonl"
    text = f"{to_json_lines([decision('a')])}\n{bad}\n"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(
        EvaluationError, match=r"part-0\.jsonl, line 2, .*Operator action"
    ) as caught:
        read_decisions(tmp_path)
    assert str(path) in str(caught.value)


def test_a_bad_byte_inside_a_string_is_a_bad_line(tmp_path: Path) -> None:
    good = to_json_lines([decision("a")]).encode()
    (tmp_path / "part-0.jsonl").write_bytes(good.replace(b'"a"', b'"\xff"'))
    with pytest.raises(EvaluationError, match="line 1"):
        read_decisions(tmp_path)


def test_no_folder_is_an_error_and_an_empty_one_is_not(tmp_path: Path) -> None:
    assert read_decisions(tmp_path) == []
    with pytest.raises(EvaluationError, match="Operator action"):
        read_decisions(tmp_path / "nowhere")

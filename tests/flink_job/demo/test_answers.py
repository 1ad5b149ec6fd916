"""The answer key holds what posts and files say, and rejects files that say nothing."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_job.demo.answers import answers_from_file, answers_from_posts, text_key
from flink_job.demo.posts import generate, write


def test_a_written_stream_gives_the_same_key_as_its_posts(tmp_path: Path) -> None:
    path = tmp_path / "posts.jsonl"
    write(path, 100, seed=1)
    posts = list(generate(100, seed=1))
    answers = answers_from_file(path)
    assert answers == answers_from_posts(posts)
    assert all(answers[text_key(p.text)] == p.expert for p in posts)


def test_the_first_answer_counts(tmp_path: Path) -> None:
    path = tmp_path / "posts.jsonl"
    path.write_text('{"text": "a", "expert": "x"}\n{"text": "a", "expert": "y"}\n')
    assert answers_from_file(path) == {text_key("a"): "x"}


@pytest.mark.parametrize(
    "line", ["", "not json", "[]", '{"text": "a"}', '{"text": 1, "expert": "ok"}']
)
def test_a_bad_line_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "posts.jsonl"
    path.write_text('{"text": "a", "expert": "x"}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"posts\.jsonl:2 .*Operator action"):
        answers_from_file(path)


@given(st.text(st.characters(exclude_categories=())))
@settings(deadline=None)
def test_any_string_has_a_key(text: str) -> None:
    assert len(text_key(text)) == 64

from __future__ import annotations

from pathlib import Path

import pytest

from flink_job import output
from flink_job.settings import SettingsError
from flink_job.sink_settings import FileSinkSettings


def test_the_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    output.prepare(FileSinkSettings(path=tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()


def test_what_else_lies_in_the_folder_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "posts.jsonl").touch()
    output.prepare(FileSinkSettings(path=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["posts.jsonl"]


@pytest.mark.parametrize("name", ["decisions", "dead_letters", "releases"])
def test_an_earlier_run_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(SettingsError) as caught:
        output.prepare(FileSinkSettings(path=tmp_path))
    assert f"{tmp_path} holds an earlier run ({name})" in str(caught.value)
    assert "Operator action: move it away, or choose another folder" in str(caught.value)


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    for path in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(SettingsError, match=r"sink.path: .* can not be made"):
            output.prepare(FileSinkSettings(path=path))


def test_a_run_that_goes_on_may_find_its_sink_occupied(tmp_path: Path) -> None:
    (tmp_path / "decisions").mkdir()
    output.prepare(FileSinkSettings(path=tmp_path), go_on=True)


def test_a_savepoint_is_a_folder_with_metadata_or_a_uri(tmp_path: Path) -> None:
    folder = tmp_path / "a b" / "savepoint-1"
    folder.mkdir(parents=True)
    (folder / "_metadata").touch()
    for given in (str(folder), f"file:{folder}", output.uri(folder)):
        assert output.savepoint_uri(given) == f"file://{folder}"
        assert output.local_path(given) == str(folder)
    assert output.savepoint_uri("s3://bucket/sp") == "s3://bucket/sp"
    for wrong in (tmp_path, tmp_path / "none", folder / "_metadata"):
        with pytest.raises(SettingsError, match=r"--from-savepoint: there is no savepoint in"):
            output.savepoint_uri(str(wrong))


def test_a_look_changes_nothing_and_says_what_would_go_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output.look(FileSinkSettings(path=tmp_path / "a" / "b"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"nothing can be written to .*file is no folder"):
        output.look(FileSinkSettings(path=tmp_path / "file" / "out"))
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(SettingsError, match=r"nothing can be written to .*Operator action"):
        output.look(FileSinkSettings(path=tmp_path / "out"))
    (tmp_path / "decisions").mkdir()
    with pytest.raises(SettingsError, match=r"holds an earlier run \(decisions\)"):
        output.look(FileSinkSettings(path=tmp_path))

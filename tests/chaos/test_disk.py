"""Dead letters on a disk that is full: refused with the reason, and gone on with."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.chaos.stage import Play, Stage, staged
from flink_job.output import DEAD_LETTERS
from flink_job.run import JobFailed, Stopped, run
from flink_job.settings import load_job
from tests.chaos.beside import beside

pytestmark = pytest.mark.flink
BAD = [b"no event " + b"x" * 900] * 200


class Disk:
    """A file system in memory, of little room."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def mount(self, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self._folder)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603  # a literal command
        if done.returncode != 0:
            pytest.skip(f"this user may not mount a disk: {done.stderr}")

    def unmount(self) -> None:
        # Lazily: the sink may still hold a file open.
        subprocess.run(["umount", "-l", str(self._folder)], check=False, capture_output=True)  # noqa: S603, S607  # ours


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "stage" / "out" / DEAD_LETTERS
    disk = Disk(folder)
    yield disk
    disk.unmount()


def test_a_full_disk_ends_the_job_with_the_reason_and_room_lets_it_go_on(
    play: Callable[..., Play], redis_url: str, tmp_path: Path, disk: Disk
) -> None:
    flink = {"shards": 8, "checkpoint_interval_s": 0.5, "restarts": 1}

    def fill(stage: Stage) -> None:
        stage.feed(100)
        stage.until_moving()
        folder = stage.sink / DEAD_LETTERS
        folder.mkdir()
        disk.mount("size=64k")
        stage.feed(100, beside=BAD)
        stage.until(lambda: bool(failed), "the job's failure")

    failed: list[str] = []
    with staged(play(changes={"flink": flink}), tmp_path / "stage", redis_url) as stage:
        job = load_job(stage.job_file)
        with beside(lambda: fill(stage)) as look:
            with pytest.raises(JobFailed, match="No space left on device") as error:
                run(job, "full", look)
            failed.append(str(error.value))
        assert "Operator action: make room on the disk" in failed[0]
        assert f"--cascade-run-id full --from-savepoint {stage.checkpoint()}" in failed[0]

        disk.mount("remount,size=16m")
        with beside(stage.until_done) as look:
            outcome = run(job, "full", look, from_savepoint=stage.checkpoint())
        assert isinstance(outcome, Stopped)
        row = stage.row()
        assert (row.events, row.decisions, row.lost, row.doubled) == (200, 200, 0, 0)
        assert stage.dead_letters() == len(BAD)
        assert row.calls <= row.budget

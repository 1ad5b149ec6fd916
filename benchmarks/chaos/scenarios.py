"""The scenarios: what dies, when, and for how long."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.chaos.hostile import LINES, TEXT_IDS
from benchmarks.chaos.on_cluster import ClusterJob
from benchmarks.chaos.servers import RestartableRedis
from benchmarks.chaos.stage import Play
from flink_job.demo.endpoint import EndpointSettings
from flink_job.jobmanager import JobManager
from flink_job.output import DEAD_LETTERS

_SEED = 7
# A call takes two seconds at the median and eight at p99: some are always under way.
_USUAL = EndpointSettings(latency_ms_median=2000, latency_sigma=0.6)
_BAD = 200  # lines of a kilobyte, more than the small disk holds
RATE = 25
"""Posts that come in a second."""


@dataclass(frozen=True)
class Theatre:
    """What a scenario may lay hands on.

    Parameters
    ----------
    job
        Runs, and is being fed.
    hold
        Waits so many seconds, or a part of them in a rehearsal.
    """

    job: ClusterJob
    redis: RestartableRedis
    hold: Callable[[float], None]


@dataclass(frozen=True)
class Scenario:
    """A play, and what happens in it.

    Parameters
    ----------
    happen
        While posts come in; returns when it is over.
    """

    play: Play
    happen: Callable[[Theatre], None]


def _kill_task_managers(theatre: Theatre, seconds: float = 300) -> None:
    rng = random.Random(_SEED)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        theatre.hold(rng.uniform(20, 30))
        theatre.job.kill_task_manager(rng.randrange(2))


def _kill_job_manager(theatre: Theatre, times: int = 4) -> None:
    for _ in range(times):
        theatre.hold(20)
        theatre.job.stage.until_asking()
        theatre.job.kill_job_manager()
        theatre.job.stage.until_moving()


def _stop_redis(theatre: Theatre, seconds: float, *, empty: bool, times: int = 1) -> None:
    for _ in range(times):
        theatre.hold(30)
        theatre.job.stage.strike()
        theatre.redis.kill()
        theatre.hold(seconds)
        theatre.redis.start(empty=empty)
    theatre.hold(30)


def _lose_redis_and_task_manager(theatre: Theatre, times: int = 3) -> None:
    for number in range(times):
        theatre.hold(20)
        theatre.job.stage.until_asking()
        theatre.redis.kill()
        theatre.job.kill_task_manager(number)
        theatre.redis.start(empty=True)
    theatre.hold(20)


def _take_expert_down(theatre: Theatre, seconds: float, times: int = 1) -> None:
    for _ in range(times):
        theatre.hold(20 if times == 1 else seconds)
        theatre.job.stage.strike()
        theatre.job.stage.expert.down()
        theatre.hold(seconds)
        theatre.job.stage.expert.up()
    theatre.hold(60)


def _misbehave(theatre: Theatre, seconds: float, **behaviour: Any) -> None:
    theatre.hold(30)
    theatre.job.stage.expert.behave(**behaviour)
    theatre.hold(seconds)
    theatre.job.stage.expert.behave(
        failure_rate=0.0, latency_ms_median=_USUAL.latency_ms_median, latency_sigma=0.6
    )
    theatre.hold(30)


def _poison(theatre: Theatre) -> None:
    stage = theatre.job.stage
    for number in range(3):
        theatre.hold(10)
        lines = [line.replace(b"NUMBER", b"%d" % number) for line in LINES]
        stage.feed(50, beside=lines, ids=[name.format(number) for name in TEXT_IDS])
    bad = 3 * (len(LINES) - len(TEXT_IDS))
    stage.until(lambda: stage.dead_letters() >= bad, "all dead letters")
    stage.note = f"{stage.dead_letters()} dead letters of {bad} lines that are no events"


def _run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603  # mount and umount, on a folder of this run


def _fill_disk(theatre: Theatre) -> None:
    """Dead letters on a disk of 64 KiB: the job must end with the reason, and go on with room."""
    job, stage = theatre.job, theatre.job.stage
    folder = stage.sink / DEAD_LETTERS
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(folder), "-o"]
    _run(*mount, "size=64k")
    try:
        theatre.hold(10)
        stage.feed(50, beside=[b"no event " + b"x" * 900] * _BAD)
        manager = JobManager(job.cluster.address)
        stage.until(lambda: manager.state(job.job_id) == "FAILED", "the job's failure")
        stage.note = f"ended with: {manager.failure(job.job_id)}"
        _run(*mount, "remount,size=16m")
        job.submit(stage.checkpoint())
        stage.until(lambda: stage.dead_letters() >= _BAD, "all dead letters")
        stage.note += f"; went on with room, to {stage.dead_letters()} dead letters of {_BAD}"
    finally:
        # Lazily: the sink may still hold files open.
        _run("umount", "-l", str(folder))


def _at_parallelism(number: int) -> Scenario:
    """Twice as many would be asked as are paid."""
    play = Play(
        f"budget of 400 calls, parallelism {number}, kills",
        endpoint=_USUAL,
        budget={"calls": 400, "events": 1500},
        changes={"flink": {"parallelism": number}},
    )
    return Scenario(play, partial(_kill_task_managers, seconds=60))


def _two(name: str, **endpoint: Any) -> Play:
    settings = EndpointSettings(**endpoint) if endpoint else _USUAL
    return Play(name, endpoint=settings, changes={"flink": {"parallelism": 2}})


ALL: dict[str, Scenario] = {
    "task-managers": Scenario(
        _two("kill -9 of a TaskManager every 20-30 s, 5 min"), _kill_task_managers
    ),
    "job-manager": Scenario(
        _two("kill -9 of the JobManager, on from the checkpoint"), _kill_job_manager
    ),
    "redis-stopped": Scenario(
        _two("Redis killed for a minute, back with its data"),
        partial(_stop_redis, seconds=60, empty=False),
    ),
    "redis-data": Scenario(
        _two("Redis killed and restarted with its data"),
        partial(_stop_redis, seconds=0, empty=False, times=3),
    ),
    "redis-empty": Scenario(
        _two("Redis killed and restarted empty"),
        partial(_stop_redis, seconds=2, empty=True, times=3),
    ),
    "redis-and-task-manager": Scenario(
        _two("Redis restarted empty while a TaskManager dies"), _lose_redis_and_task_manager
    ),
    "expert-down": Scenario(_two("LLM down for 2 min"), partial(_take_expert_down, seconds=120)),
    "expert-flapping": Scenario(
        _two("LLM down every other 5 s"), partial(_take_expert_down, seconds=5, times=12)
    ),
    "expert-slow": Scenario(
        _two("LLM slow, p99 30 s"),
        partial(_misbehave, seconds=120, latency_ms_median=2000, latency_sigma=1.164),
    ),
    "expert-nonsense": Scenario(
        _two("LLM answers nonsense for a minute"),
        partial(_misbehave, seconds=60, failure_rate=1.0, failure_kinds=("nonsense",)),
    ),
    "poison": Scenario(_two("hostile posts, and lines that are none"), _poison),
    "full-disk": Scenario(
        Play(
            "dead letters on a full disk",
            endpoint=_USUAL,
            changes={"flink": {"parallelism": 2, "restarts": 1}},
        ),
        _fill_disk,
    ),
    **{f"budget-{number}": _at_parallelism(number) for number in (1, 2, 3, 4)},
}

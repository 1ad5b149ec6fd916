"""The graph as Flink sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flink_job.connecting import connection
from flink_job.settings import FlinkSettings, JobSettings
from tests.kafka import JARS

pytestmark = pytest.mark.flink
Make = Callable[..., JobSettings]
# What PyFlink puts in between to pick a side output or a key: it has no state.
STATELESS = {"Map", "_stream_key_by_map_operator"}


def nodes(job: JobSettings, records: int | None) -> list[Any]:
    from flink_job import graph
    from flink_job.environment import create_environment

    env = create_environment(job.flink, "file:///nowhere")
    graph.build(env, job, connection(job, "r"), records)
    built = env._j_stream_execution_environment.getStreamGraph(False)
    return list(built.getStreamNodes().toArray())


@pytest.mark.parametrize(("restarts", "strategy"), [(0, "none"), (2, "exponential-delay")])
def test_a_job_is_given_up_after_failures_on_end_and_not_after_so_many_ever(
    restarts: int, strategy: str
) -> None:
    from flink_job.environment import create_environment

    env = create_environment(FlinkSettings(restarts=restarts), "file:///nowhere")
    options = env._j_stream_execution_environment.getConfiguration().toMap()
    assert options["restart-strategy.type"] == strategy
    prefix = "restart-strategy.exponential-delay"
    assert options[f"{prefix}.attempts-before-reset-backoff"] == str(restarts)
    assert options[f"{prefix}.reset-backoff-threshold"] == "600 s"


KAFKA = {"kind": "kafka", "bootstrap": "nowhere:1"}


@pytest.mark.parametrize(
    ("source", "sink", "records"),
    [
        ({"path": "posts"}, {"path": "out"}, 10),
        ({"path": "posts", "watch": True}, {"path": "out"}, None),
        ({"kind": "redis", "streams": ["a", "b"]}, {"path": "out"}, None),
        ({**KAFKA, "topics": ["a", "b"], "group": "g"}, KAFKA, None),
    ],
)
def test_every_operator_is_found_again_by_a_savepoint(
    make_job: Make, source: dict[str, Any], sink: dict[str, Any], records: int | None
) -> None:
    job = make_job(
        source=source,
        sink=sink,
        budget={"share": 0.1},
        flink={"parallelism": 2, "max_parallelism": 64, "jars": JARS},
    )
    found = nodes(job, records)
    uids = [n.getTransformationUID() for n in found if n.getOperatorName() not in STATELESS]
    assert None not in uids
    assert len(uids) == len(set(uids))
    assert {"cascade", "expert", "trainer", "read"} <= set(uids)
    assert any(uid.startswith("decisions-sink") for uid in uids)
    assert {n.getMaxParallelism() for n in found} == {64}
    # The planner counts what it plans in a JVM: a second graph has the same uids all the same.
    again = nodes(job, records)
    assert {n.getTransformationUID() for n in again} == {n.getTransformationUID() for n in found}

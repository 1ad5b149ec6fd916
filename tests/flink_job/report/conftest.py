from collections.abc import Callable
from typing import Any

import pytest

from flink_job.evaluation import Evaluation, Reference, evaluate
from operators.records import Decision, Reason
from operators.settings import TaskSettings


def make_evaluation(
    events: int = 60,
    *,
    labels: tuple[str, str] = ("no", "yes"),
    levels: tuple[str, ...] = ("linear", "expert"),
    gold: bool = True,
    expert: bool = True,
    decided: int | None = None,
    prefix: str = "e",
    cost_usd_micros: int = 100,
    failure: str | None = None,
) -> Evaluation:
    """Evaluate a stream where the first half is answered by the expert, rightly."""
    names = [f"{prefix}{number}" for number in range(events)]
    references = [
        Reference(name, labels[number % 2] if gold else None, labels[1] if expert else None)
        for number, name in enumerate(names)
    ]
    decisions = [
        Decision(
            name,
            "k",
            "t",
            "",
            labels[1],
            (0.0, 1.0),
            levels[-1] if number < events / 2 else levels[0],
            "r<1>",
            Reason.POLICY if number < events / 2 else Reason.ACCEPTED,
            0.5,
            cost_usd_micros=cost_usd_micros if number < events / 2 else 0,
            calls=int(number < events / 2),
            degraded=failure is not None,
            failure=failure,
        )
        for number, name in enumerate(names[:decided])
    ]
    return evaluate(
        references,
        decisions,
        TaskSettings(name="t", labels=labels, prompt="p", positive=labels[1]),
        levels,
        calls=sum(decision.calls for decision in decisions),
        events_in=events,
        dead_letters=2,
        wall_s=4.0,
    )


@pytest.fixture(scope="session")
def make() -> Callable[..., Any]:
    return make_evaluation

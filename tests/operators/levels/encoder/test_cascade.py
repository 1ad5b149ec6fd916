"""Cascades of several encoders, with the loop closed through the store."""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from operators.assembly import build_cascade, prepare_levels
from operators.levels.encoder.errors import EncoderUnavailable
from operators.records import Reason
from operators.settings import EncoderSettings
from tests.operators.fakes import memory_ledger
from tests.operators.test_assembly import Loop, stream
from tests.operators.test_assembly import written as job_of

Written = Callable[..., EncoderSettings]
EVENTS = 400


def levels(written: Written) -> list[dict[str, Any]]:
    """Linear, an encoder that reads little, and one that reads more and is fine-tuned."""
    small = written(name="small", max_tokens=8)
    large = written(name="large", top_layers=1, finetune={"time_share": 1.0})
    linear = {"features": {"bits": 10, "words": 1, "characters": None}}
    return [linear, small.model_dump(), large.model_dump()]


@pytest.mark.parametrize("exit_risk", [0.0, 0.2])
def test_four_levels_learn_and_decide(written: Written, exit_risk: float) -> None:
    events = stream(EVENTS)
    chosen = job_of(
        levels=levels(written),
        budget={"calls": 120, "events": EVENTS},
        policy={"kind": "budgeted", "exit_risk": exit_risk},
    )
    loop = Loop(chosen)
    loop.run(events)
    assert Counter(d.id for d in loop.decisions) == Counter(e.id for e in events)
    assert loop.releases > 3
    said = {event.id: event.recorded for event in events}
    late = [d for d in loop.decisions if int(d.id[1:]) >= EVENTS // 2]
    assert sum(d.label == said[d.id] for d in late) / len(late) > 0.9
    small = {d.level for d in late if d.reason is Reason.ACCEPTED}
    assert small == ({"large"} if exit_risk == 0 else small)
    assert small <= {"linear", "small", "large"}


def test_the_papers_policy_takes_encoders(written: Written) -> None:
    chosen = job_of(
        levels=levels(written),
        policy={"kind": "paper", "gates": [{}, {"cache": 16}, {"cache": 32}]},
    )
    loop = Loop(chosen)
    loop.run(stream(200))
    assert len(loop.decisions) == 200


def test_an_encoder_without_its_packages_says_what_to_install(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = job_of(levels=levels(written), budget={"share": 0.1})
    plain = builtins.__import__

    def without(
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002  # as Python calls it
        locals: Mapping[str, object] | None = None,  # noqa: A002  # as Python calls it
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> Any:
        if name == "operators.levels.encoder" and "build" in fromlist:
            raise ModuleNotFoundError(name="tokenizers")
        return plain(name, globals, locals, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", without)
    for make in (prepare_levels, lambda job: build_cascade(job, memory_ledger())):
        with pytest.raises(EncoderUnavailable, match=r"needs tokenizers.*\[encoder\]"):
            make(chosen)
    linear = job_of(budget={"share": 0.1})
    prepare_levels(linear)
    build_cascade(linear, memory_ledger())

"""Accepted answers are handed over with an audit: each once, none lost."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from operators.audit.exposed import Exposed
from operators.records import Exposure

ANSWERS = st.tuples(st.sampled_from(["linear", "encoder"]), st.integers(0, 2))


@given(steps=st.lists(ANSWERS | st.sampled_from(["audit", "restart"]), max_size=60))
def test_every_answer_is_handed_over_once(steps: list[tuple[str, int] | str]) -> None:
    exposed, handed, added = Exposed(()), Counter[tuple[str, int]](), Counter[tuple[str, int]]()
    for step in [*steps, "audit"]:
        if step == "audit":
            for part in exposed.hand_over():
                assert part.accepted > 0
                handed[part.level, part.answer] += part.accepted
        elif step == "restart":
            exposed = Exposed(exposed.so_far())
        else:
            assert isinstance(step, tuple)
            exposed.add(*step)
            added[step] += 1
    assert handed == added
    assert exposed.so_far() == ()


def test_counts_are_kept_by_level_and_label() -> None:
    exposed = Exposed((Exposure("linear", 1, 4),))
    exposed.add("linear", 1)
    exposed.add("linear", 0)
    assert exposed.so_far() == (Exposure("linear", 0, 1), Exposure("linear", 1, 5))

import json
import random
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_job.evaluation import Evaluation, EvaluationError, Reference, evaluate, to_json
from operators.records import Decision, Reason
from operators.settings import TaskSettings

TASK = TaskSettings(name="t", labels=("no", "yes"), prompt="p", positive="yes")
LEVELS = ("linear", "encoder", "expert")


def decision(name: str, **changes: Any) -> Decision:
    fields: dict[str, Any] = {
        "key": "k",
        "task": "t",
        "time": "",
        "label": "yes",
        "probabilities": (0.2, 0.8),
        "level": "linear",
        "release": "r1",
        "reason": Reason.ACCEPTED,
        "propensity": 0.1,
    }
    return Decision(id=name, **(fields | changes))


def run(references: list[Reference], decisions: list[Decision], **changes: Any) -> Evaluation:
    numbers = {"calls": 0, "events_in": len(references), "dead_letters": 0, "wall_s": 1.0}
    return evaluate(references, decisions, TASK, LEVELS, **(numbers | changes))


def test_a_run_that_decided_each_event_once_is_complete() -> None:
    evaluation = run([Reference("a"), Reference("b")], [decision("b"), decision("a")])
    assert evaluation.delivery.complete
    assert evaluation.delivery.decisions_out == 2


def test_an_id_twice_in_the_source_needs_two_decisions() -> None:
    references = [Reference("a"), Reference("a")]
    assert run(references, [decision("a"), decision("a")]).delivery.complete
    one = run(references, [decision("a")]).delivery
    assert (one.complete, one.missing_ids) == (False, ("a",))
    three = run(references, [decision("a")] * 3).delivery
    assert (three.complete, three.doubled_ids) == (False, ("a",))


@pytest.mark.parametrize("events_in", [0, 2])
def test_a_run_that_took_in_another_number_of_events_is_not_complete(events_in: int) -> None:
    assert not run([Reference("a")], [decision("a")], events_in=events_in).delivery.complete


def test_a_decision_on_no_event_is_unknown() -> None:
    delivery = run([Reference("a")], [decision("a"), decision("z")]).delivery
    assert (delivery.complete, delivery.unknown_ids, delivery.doubled_ids) == (False, ("z",), ())


def test_one_missing_and_one_doubled_do_not_make_up_for_each_other() -> None:
    delivery = run([Reference("a"), Reference("b")], [decision("a"), decision("a")]).delivery
    assert delivery.decisions_out == delivery.events_in
    assert (delivery.complete, delivery.missing_ids, delivery.doubled_ids) == (
        False,
        ("b",),
        ("a",),
    )


def test_no_decisions() -> None:
    evaluation = run([Reference("a", "yes", "no")], [], dead_letters=3)
    assert [share.share for share in evaluation.by_level] == [0, 0, 0]
    assert evaluation.delivery.missing_ids == ("a",)
    assert evaluation.dead_letters == 3
    assert evaluation.quality.cascade is None


def test_no_events_at_all() -> None:
    evaluation = run([], [])
    assert evaluation.delivery.complete
    assert evaluation.calls_per_event == 0
    assert evaluation.series == ()


def test_money_is_counted_for_doubled_decisions_too_but_shares_are_not() -> None:
    paid = decision("a", level="expert", cost_usd_micros=250_000, calls=1)
    evaluation = run([Reference("a"), Reference("b")], [paid, paid, decision("b")], calls=3)
    assert evaluation.cost_usd == 0.5
    assert evaluation.calls_per_event == 1.5
    assert [share.events for share in evaluation.by_level] == [1, 0, 1]


def test_degraded_answers_by_what_kept_the_expert_away() -> None:
    evaluation = run(
        [Reference(name) for name in "abcd"],
        [
            decision("a", degraded=True, failure="timeout", reason=Reason.POLICY),
            decision("b", degraded=True, failure="timeout", reason=Reason.POLICY),
            decision("c", degraded=True, reason=Reason.BUDGET),
            # An audit that failed: the accepted answer stands, nothing is degraded.
            decision("d", failure="timeout", reason=Reason.AUDIT),
        ],
    )
    assert evaluation.degraded == 3
    assert {share.name: share.events for share in evaluation.degraded_by} == {
        "budget": 1,
        "timeout": 2,
    }


def test_releases_in_the_order_of_the_stream() -> None:
    evaluation = run(
        [Reference(name) for name in "abcd"],
        [
            decision("d", release="r1"),
            decision("c", release="r3"),
            decision("b", release="r2"),
            decision("a", release=None),
        ],
    )
    assert evaluation.releases == ("r2", "r3", "r1")


@pytest.mark.parametrize(
    ("references", "decisions", "culprit"),
    [
        ([Reference("a")], [decision("a", level="oracle")], "'oracle'"),
        ([Reference("a")], [decision("a", label="maybe")], "'maybe'"),
        ([Reference("a", "Yes")], [decision("a")], "'Yes'"),
        ([], [decision("z", level="oracle")], "'z'"),
    ],
)
def test_a_name_that_the_settings_lack_is_an_error_that_says_what_to_do(
    references: list[Reference], decisions: list[Decision], culprit: str
) -> None:
    with pytest.raises(EvaluationError, match=r"Operator action: ") as caught:
        run(references, decisions)
    assert culprit in str(caught.value)


def test_json_has_the_fields_of_the_records() -> None:
    evaluation = run([Reference("a", "yes", "no")], [decision("a", release="</script>")])
    read = json.loads(to_json(evaluation))
    assert read == json.loads(json.dumps(asdict(evaluation)))
    assert list(read) == [
        "delivery",
        "dead_letters",
        "wall_s",
        "levels",
        "by_level",
        "by_reason",
        "degraded",
        "degraded_by",
        "calls",
        "calls_per_event",
        "cost_usd",
        "releases",
        "quality",
        "series",
    ]


LABEL = st.sampled_from(["no", "yes"])
EVENT = st.tuples(
    st.none() | LABEL,
    st.none() | LABEL,
    LABEL,
    st.sampled_from(LEVELS),
    st.sampled_from(Reason),
)


@given(events=st.lists(EVENT, min_size=1, max_size=60), seed=st.integers())
def test_shares_sum_to_one_and_agreement_is_what_a_naive_loop_counts(
    events: list[tuple[str | None, str | None, str, str, Reason]], seed: int
) -> None:
    references = [
        Reference(str(number), gold, expert) for number, (gold, expert, *_) in enumerate(events)
    ]
    decisions = [
        decision(str(number), label=said, level=level, reason=reason)
        for number, (_, _, said, level, reason) in enumerate(events)
    ]
    random.Random(seed).shuffle(decisions)
    evaluation = run(references, decisions)
    assert evaluation.delivery.complete
    assert sum(share.share for share in evaluation.by_level) == pytest.approx(1)
    assert sum(share.share for share in evaluation.by_reason) == pytest.approx(1)

    hits = known = unasked_hits = unasked = correct = labelled = 0
    for gold, expert, said, level, _ in events:
        if expert is not None:
            known += 1
            hits += said == expert
            if level != "expert":
                unasked += 1
                unasked_hits += said == expert
        if gold is not None:
            labelled += 1
            correct += said == gold
    quality = evaluation.quality
    for counted, expected in (
        (quality.agreement, (hits, known)),
        (quality.agreement_unasked, (unasked_hits, unasked)),
        (quality.cascade.accuracy if quality.cascade else None, (correct, labelled)),
    ):
        if counted is None:
            assert expected[1] == 0
        else:
            assert (counted.hits, counted.events) == expected
            assert 0 <= counted.low <= counted.share <= counted.high <= 1

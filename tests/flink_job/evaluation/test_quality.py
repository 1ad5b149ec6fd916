import msgspec
import pytest

from flink_job.evaluation.joining import Reference
from flink_job.evaluation.quality import measure_quality, proportion
from flink_job.evaluation.results import Quality
from operators.audit.bounds import most_disagreements
from operators.records import Decision, Reason
from operators.settings import TaskSettings

TASK = TaskSettings(name="t", labels=("no", "yes"), prompt="p", positive="yes")


def decision(label: str, level: str = "linear") -> Decision:
    return Decision("x", "k", "t", "", label, (0.5, 0.5), level, None, Reason.ACCEPTED, 0.0)


def measure(
    gold: list[str | None],
    expert: list[str | None],
    said: list[Decision | None],
    task: TaskSettings = TASK,
) -> Quality:
    references = [Reference("x", g, e) for g, e in zip(gold, expert, strict=True)]
    return measure_quality(references, said, task, expert="expert")


def test_wilson_interval_of_a_textbook_case() -> None:
    counted = proportion([True] * 8 + [False] * 2)
    assert counted is not None
    assert (counted.hits, counted.events, counted.share) == (8, 10, 0.8)
    assert counted.low == pytest.approx(0.4902, abs=1e-4)
    assert counted.high == pytest.approx(0.9433, abs=1e-4)


def test_nothing_counted_is_no_proportion() -> None:
    assert proportion([]) is None


def test_scores_of_the_positive_label() -> None:
    gold: list[str | None] = ["yes", "yes", "yes", "no", "no", "no"]
    said: list[Decision | None] = [decision(x) for x in ("yes", "no", "no", "yes", "no", "no")]
    quality = measure(gold, [None] * 6, said)
    assert quality.cascade is not None
    assert quality.cascade.positive is not None
    assert quality.cascade.accuracy.share == 0.5
    assert quality.cascade.positive.precision == pytest.approx(1 / 2)
    assert quality.cascade.positive.recall == pytest.approx(1 / 3)
    assert quality.cascade.positive.f1 == pytest.approx(2 / 5)
    assert quality.cascade.macro_f1 == pytest.approx((2 / 5 + 4 / 7) / 2)


def test_the_majority_never_finds_the_rare_label() -> None:
    quality = measure(["no", "no", "yes"], [None] * 3, [decision("yes")] * 3)
    assert quality.majority_label == "no"
    assert quality.majority is not None
    assert quality.majority.accuracy.share == pytest.approx(2 / 3)
    assert quality.majority.positive is not None
    assert quality.majority.positive.f1 == 0


def test_a_tie_between_labels_goes_to_the_first_of_the_task() -> None:
    assert measure(["yes", "no"], [None] * 2, [None] * 2).majority_label == "no"


def test_agreement_counts_the_experts_answers_and_then_leaves_them_out() -> None:
    said: list[Decision | None] = [
        decision("yes", "expert"),
        decision("no", "expert"),
        decision("yes"),
        decision("no"),
        decision("no"),
    ]
    quality = measure([None] * 5, ["yes", "yes", "yes", "yes", None], said)
    assert quality.agreement is not None
    assert quality.agreement_unasked is not None
    assert (quality.agreement.hits, quality.agreement.events) == (2, 4)
    assert (quality.agreement_unasked.hits, quality.agreement_unasked.events) == (1, 2)


def test_without_gold_labels_there_is_agreement_alone() -> None:
    quality = measure([None], ["yes"], [decision("yes")])
    assert quality.agreement is not None
    assert quality.cascade is None
    assert quality.expert_alone is None
    assert quality.majority is None
    assert quality.majority_label is None


def test_without_the_experts_column_there_is_no_agreement() -> None:
    quality = measure(["yes"], [None], [decision("yes")])
    assert quality.agreement is None
    assert quality.agreement_unasked is None
    assert quality.expert_alone is None
    assert quality.cascade is not None


def test_without_decisions_the_baselines_remain() -> None:
    quality = measure(["yes", "no"], ["yes", "yes"], [None, None])
    assert quality.cascade is None
    assert quality.agreement is None
    assert quality.agreement_unasked is None
    assert quality.expert_alone is not None
    assert quality.expert_alone.accuracy.share == 0.5
    assert quality.majority is not None


def test_if_the_expert_answered_everything_nothing_is_unasked() -> None:
    quality = measure(["yes"], ["yes"], [decision("yes", "expert")])
    assert quality.agreement is not None
    assert quality.agreement_unasked is None


def test_a_single_class_has_perfect_macro_f1_and_no_positive_label() -> None:
    quality = measure(["no"] * 3, [None] * 3, [decision("no")] * 3)
    assert quality.cascade is not None
    assert quality.cascade.macro_f1 == 1
    assert quality.cascade.positive is None


def test_a_recorded_answer_that_is_no_label_is_wrong() -> None:
    quality = measure(["no", "no"], ["I cannot help", "no"], [decision("no")] * 2)
    assert quality.expert_alone is not None
    assert quality.expert_alone.accuracy.share == 0.5
    assert quality.agreement is not None
    assert quality.agreement.hits == 1


def test_no_positive_label_in_the_task_none_in_the_scores() -> None:
    task = TASK.model_copy(update={"positive": None})
    quality = measure(["no", "yes"], [None] * 2, [decision("no")] * 2, task)
    assert quality.cascade is not None
    assert quality.cascade.positive is None


def audit(small: str | None, label: str, level: str = "expert") -> Decision:
    return Decision(
        "x", "k", "t", "", label, (0.5, 0.5), level, None, Reason.AUDIT, 0.5, small_label=small
    )


def test_audits_tell_the_agreement_where_there_is_no_column_of_the_expert() -> None:
    accepted = msgspec.structs.replace(decision("no"), propensity=0.5)
    paid = msgspec.structs.replace(accepted, label="yes", level="expert", reason=Reason.PAID)
    found_out = [audit("no", "no"), audit("no", "yes"), audit("no", "no")]
    said = [*found_out, *[accepted] * 987, *[paid] * 10]
    quality = measure([None] * 1000, [None] * 1000, list(said))
    found = quality.agreement_audited
    assert found is not None
    assert (found.hits, found.events, found.share) == (2, 3, pytest.approx(1 - 2 / 1000))
    assert (1 - found.low) * 1000 == pytest.approx(most_disagreements({0.5: 1}, 0.5, 1 - 0.95))
    assert found.high == 0.999


def test_an_audit_without_an_answer_confirms_nothing() -> None:
    found = measure([None], [None], [audit(None, "no", "linear")]).agreement_audited
    assert found is not None
    assert (found.hits, found.events, found.low) == (0, 1, 0.0)


def test_answers_that_could_not_be_audited_prove_nothing_and_are_not_counted() -> None:
    said = [audit("no", "no"), *[decision("no")] * 10]
    found = measure([None] * 11, [None] * 11, list(said)).agreement_audited
    assert found is not None
    assert found.low == 0.0
    assert measure([None], [None], [decision("no")]).agreement_audited is None

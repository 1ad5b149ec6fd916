"""Answers against gold labels and against the expert."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scipy.stats import binomtest
from sklearn.metrics import precision_recall_fscore_support

from flink_job.evaluation.joining import Reference
from flink_job.evaluation.results import PositiveScores, Proportion, Quality, Scores
from operators.audit.evidence import Tally, infer
from operators.records import Decision, Reason
from operators.settings import TaskSettings

_CONFIDENCE = 0.95


def measure_quality(
    references: Sequence[Reference],
    answers: Sequence[Decision | None],
    task: TaskSettings,
    expert: str,
) -> Quality:
    """Score the decisions, the expert alone and the majority baseline.

    Parameters
    ----------
    references, answers
        Events and their decisions, of one length and order.
    task
        Its ``positive`` label is scored by itself; the order of its labels breaks the tie between
        labels that are equally frequent.
    expert
        Name of the level that is the expert.
    """
    decided = [
        (reference, answer)
        for reference, answer in zip(references, answers, strict=True)
        if answer is not None
    ]
    gold = Counter(reference.label for reference in references if reference.label is not None)
    majority = max(task.labels, key=lambda label: gold[label]) if gold else None
    return Quality(
        cascade=_score([(r.label, a.label) for r, a in decided], task.positive),
        expert_alone=_score([(r.label, r.expert) for r in references], task.positive),
        majority=_score([(r.label, majority) for r in references], task.positive),
        majority_label=majority,
        agreement=proportion([r.expert == a.label for r, a in decided if r.expert is not None]),
        agreement_unasked=proportion(
            [r.expert == a.label for r, a in decided if r.expert is not None and a.level != expert]
        ),
        agreement_audited=_audited([answer for _, answer in decided]),
    )


def _audited(answers: Sequence[Decision]) -> Proportion | None:
    """What audits prove of the accepted answers; bounds of 95 % that hold at all moments.

    An audit that the expert left unanswered confirms nothing, and so counts as a disagreement.
    """
    audits = [answer for answer in answers if answer.reason == Reason.AUDIT]
    if not audits:
        return None
    accepted = [a for a in answers if a.reason == Reason.ACCEPTED and a.propensity > 0]
    confirmed = sum(audit.small_label == audit.label for audit in audits)
    agreement = infer(
        Tally(len(audits) + len(accepted), len(audits), len(audits) - confirmed),
        rate=audits[0].propensity,
        confidence=_CONFIDENCE,
    )
    assert agreement.estimate is not None
    return Proportion(confirmed, len(audits), agreement.estimate, agreement.lower, agreement.upper)


def proportion(hits: Sequence[bool]) -> Proportion | None:
    """Count the hits, with a 95 % Wilson interval; None if there is nothing to count."""
    if not hits:
        return None
    counted = binomtest(sum(hits), len(hits))
    interval = counted.proportion_ci(confidence_level=_CONFIDENCE, method="wilson")
    return Proportion(
        hits=counted.k,
        events=counted.n,
        share=counted.k / counted.n,
        low=float(interval.low),
        high=float(interval.high),
    )


def _score(pairs: Sequence[tuple[str | None, str | None]], positive: str | None) -> Scores | None:
    """Score pairs of gold label and answer, those apart that lack one of the two."""
    full = [(gold, said) for gold, said in pairs if gold is not None and said is not None]
    accuracy = proportion([gold == said for gold, said in full])
    if accuracy is None:
        return None
    gold, said = zip(*full, strict=True)
    # Averaged over the gold labels only, so that every row of the table averages over the same.
    present = sorted(set(gold))
    _, _, macro_f1, _ = precision_recall_fscore_support(
        gold, said, labels=present, average="macro", zero_division=0
    )
    return Scores(
        events=len(full),
        accuracy=accuracy,
        macro_f1=float(macro_f1),
        positive=(
            _score_positive(gold, said, positive)
            if positive is not None and positive in present
            else None
        ),
    )


def _score_positive(gold: Sequence[str], said: Sequence[str], positive: str) -> PositiveScores:
    precision, recall, f1, _ = precision_recall_fscore_support(
        gold, said, labels=[positive], average=None, zero_division=0
    )
    return PositiveScores(
        label=positive, f1=float(f1[0]), precision=float(precision[0]), recall=float(recall[0])
    )

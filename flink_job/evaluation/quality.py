"""Answers against gold labels and against the expert."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from scipy.special import ndtri

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
    # An answer that gave way to one paid before a failure could have been audited all the same.
    unaudited = (Reason.ACCEPTED, Reason.PAID)
    accepted = [a for a in answers if a.reason in unaudited and a.propensity > 0]
    tally = Tally(accepted=len(audits) + len(accepted))
    for audit in audits:
        tally.count(audit.propensity, agrees=audit.small_label == audit.label)
    # The bounds want the least to be known beforehand. It as good as is: the surest of the first
    # answers has it, and it does not change.
    least = min(answer.propensity for answer in (*audits, *accepted))
    agreement = infer(tally, least, _CONFIDENCE)
    assert agreement.estimate is not None
    return Proportion(
        hits=agreement.audited - agreement.disagreeing,
        events=agreement.audited,
        share=agreement.estimate,
        low=agreement.lower,
        high=agreement.upper,
    )


def proportion(hits: Sequence[bool]) -> Proportion | None:
    """Count the hits, with a 95 % Wilson interval; None if there is nothing to count."""
    if not hits:
        return None
    found, events = sum(hits), len(hits)
    square = ndtri((1 + _CONFIDENCE) / 2) ** 2
    middle = (found + square / 2) / (events + square)
    reach = math.sqrt(square * (found * (events - found) / events + square / 4)) / (events + square)
    return Proportion(
        hits=found,
        events=events,
        share=found / events,
        low=float(max(0, middle - reach)) if found else 0.0,
        high=float(min(1, middle + reach)) if found < events else 1.0,
    )


def _score(pairs: Sequence[tuple[str | None, str | None]], positive: str | None) -> Scores | None:
    """Score pairs of gold label and answer, those apart that lack one of the two."""
    full = [(gold, said) for gold, said in pairs if gold is not None and said is not None]
    accuracy = proportion([gold == said for gold, said in full])
    if accuracy is None:
        return None
    # Averaged over the gold labels only, so that every row of the table averages over the same.
    by_label = _score_labels(full)
    return Scores(
        events=len(full),
        accuracy=accuracy,
        macro_f1=fmean(scores.f1 for scores in by_label.values()),
        positive=None if positive is None else by_label.get(positive),
    )


def _score_labels(pairs: Sequence[tuple[str, str]]) -> dict[str, PositiveScores]:
    """Precision, recall and F1 of each gold label; 0 where nothing was said to be it."""
    gold = Counter(label for label, _ in pairs)
    said = Counter(answer for _, answer in pairs)
    hits = Counter(label for label, answer in pairs if label == answer)
    return {
        label: PositiveScores(
            label=label,
            f1=2 * hits[label] / (count + said[label]),
            precision=hits[label] / said[label] if said[label] else 0.0,
            recall=hits[label] / count,
        )
        for label, count in sorted(gold.items())
    }

"""Aiming at an agreement: never more is accepted than the audits leave room for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model_store.ledger import Usage
from operators.audit.bounds import most_disagreements
from operators.policy.target import AgreementTarget, threshold_for

AIM = AgreementTarget(target=0.9, audit=0.1, confidence=0.95)


def usage(seen: int, accepted: int, disagreeing: int) -> Usage:
    sent = seen - accepted
    return Usage(seen, deferred=sent, settled=sent, reserved=sent, disagreeing=disagreeing)


@given(
    seen=st.integers(0, 10_000),
    part=st.floats(0, 1),
    disagreeing=st.integers(0, 100),
)
def test_what_is_allowed_never_exceeds_the_target(seen: int, part: float, disagreeing: int) -> None:
    accepted = int(part * seen)
    allowed = AIM.allowance(usage(seen, accepted, disagreeing))
    assert 0 <= allowed <= 0.1 + 1e-9
    proven = min(accepted, most_disagreements({0.1: disagreeing}, 0.1, 0.05 + 1e-12))
    if proven > 0.1 * seen + 1:
        assert allowed == 0


def test_few_accepted_answers_need_no_proof() -> None:
    assert AIM.allowance(usage(1000, 50, 5)) > 0.09


def test_findings_close_the_gate_and_time_opens_it_again() -> None:
    shut = AIM.allowance(usage(2000, 1500, 40))
    assert shut == 0
    assert AIM.allowance(usage(9000, 1500, 40)) > 0


@given(
    scores=st.lists(st.floats(0, 1), max_size=50),
    allowance=st.floats(0, 0.5),
)
def test_what_is_accepted_is_expected_to_disagree_as_often_as_allowed(
    scores: list[float], allowance: float
) -> None:
    found = np.array(scores)
    risks = found**2
    kept = found < threshold_for(found, risks, allowance)
    assert risks[kept].sum() <= allowance * len(found) + 1e-9
    if allowance <= 0:
        assert not kept.any()
    elif risks.sum() <= allowance * len(found) - 1e-9:
        assert kept.all()

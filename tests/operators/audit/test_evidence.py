"""Evidence: unbiased, bounded, by group and window, and the same after a restore."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.audit.evidence import EVERYTHING, Evidence, label_group, level_group
from operators.records import Audit, Exposure

RATE = 0.1


def audits_of(agrees: np.ndarray, coins: np.ndarray, level: str = "linear") -> list[Audit]:
    """The audits of a stream of accepted answers, all with label 0."""
    found, waiting = [], 0
    for right, audited in zip(agrees.tolist(), coins.tolist(), strict=True):
        waiting += 1
        if audited:
            found.append(Audit("e", level, 0, right, RATE, (Exposure(level, 0, waiting),)))
            waiting = 0
    return found


def stream(seed: int, count: int, wrong: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.random(count) >= wrong, random.random(count) < RATE


def test_nothing_is_claimed_before_the_first_audit() -> None:
    nothing = Evidence(RATE, 0.95, 100).total(EVERYTHING)
    assert (nothing.accepted, nothing.estimate, nothing.lower, nothing.upper) == (0, None, 0.0, 1.0)


def test_doubtful_answers_audited_more_often_weigh_no_more() -> None:
    """Half of the answers are doubtful, and wrong in 40 %; the others are wrong in 2 %."""
    estimates = []
    for seed in range(300):
        random = np.random.default_rng(seed)
        doubtful = random.random(2000) < 0.5
        agrees = random.random(2000) >= np.where(doubtful, 0.4, 0.02)
        chances = np.where(doubtful, 8 * RATE / 4, RATE / 4)
        audited = np.flatnonzero(random.random(2000) < chances)
        evidence = Evidence(RATE / 4, 0.95, 10**6)
        since = np.diff(audited, prepend=-1)
        evidence.take(
            Audit("e", "linear", 0, bool(agrees[i]), chances[i], (Exposure("linear", 0, int(n)),))
            for i, n in zip(audited, since, strict=True)
        )
        total = evidence.total(EVERYTHING)
        assert total.accepted == audited[-1] + 1
        assert total.estimate is not None
        estimates.append(total.estimate - agrees[: audited[-1] + 1].mean())
    error = np.std(estimates) / len(estimates) ** 0.5
    assert abs(np.mean(estimates)) < 3 * error
    assert error < 0.005


def test_the_estimate_is_the_share_and_lies_between_the_bounds() -> None:
    evidence = Evidence(RATE, 0.95, 10**6)
    agrees, coins = stream(1, 20_000, 0.2)
    evidence.take(audits_of(agrees, coins))
    total = evidence.total(EVERYTHING)
    assert total.audited == coins.sum()
    assert total.estimate == pytest.approx(0.8, abs=0.03)
    assert 0.7 < total.lower < 0.8 < total.upper < 0.9
    assert evidence.disagreeing == total.disagreeing == (coins & ~agrees).sum()


def test_bounds_fail_no_more_often_than_stated_under_drift() -> None:
    """The agreement falls from 95 to 60 %, and answers are accepted because audits went well."""
    streams, failed = 200, 0
    for seed in range(streams):
        random = np.random.default_rng(seed)
        wrong = np.where(np.arange(1500) < 800, 0.05, 0.4)
        agrees, coins = random.random(1500) >= wrong, random.random(1500) < RATE
        evidence, accepted, disagreed, since = Evidence(RATE, 0.9, 10**6), 0, 0, 0
        bad = False
        for right, audited in zip(agrees.tolist(), coins.tolist(), strict=True):
            if since < 3 and random.random() < 0.5:  # a policy that grows careful after findings
                continue
            accepted, disagreed = accepted + 1, disagreed + (not right)
            since += 1
            if audited:
                exposed = (Exposure("linear", 0, since),)
                evidence.take([Audit("e", "linear", 0, right, RATE, exposed)])
                total = evidence.total(EVERYTHING)
                share = 1 - disagreed / accepted
                assert total.accepted == accepted
                bad = bad or not total.lower <= share <= total.upper
                since = 0
        failed += bad
    assert failed / streams <= 0.2 + 3 * (0.2 * 0.8 / streams) ** 0.5  # two sides of 10 %


def test_a_fall_shows_in_the_window_before_it_shows_in_all() -> None:
    evidence = Evidence(RATE, 0.95, 1000)
    evidence.take(audits_of(*stream(2, 10_000, 0.02)))
    before = evidence.recent(EVERYTHING)
    evidence.take(audits_of(*stream(3, 2500, 0.4)))
    after, total = evidence.recent(EVERYTHING), evidence.total(EVERYTHING)
    assert before.lower > 0.85
    assert after.upper < before.lower < total.upper
    assert 1000 <= after.accepted < 1100


def test_groups_are_counted_apart() -> None:
    evidence = Evidence(RATE, 0.95, 10**6)
    evidence.take(
        [
            Audit(
                "1", "linear", 0, True, 0.1, (Exposure("linear", 0, 3), Exposure("encoder", 1, 2))
            ),
            Audit("2", "encoder", 1, False, 0.4, (Exposure("encoder", 1, 1),)),
        ]
    )
    counted = {group: evidence.total(group) for group in evidence.groups}
    assert {g: (a.accepted, a.audited, a.disagreeing) for g, a in counted.items()} == {
        EVERYTHING: (6, 2, 1),
        level_group("linear"): (3, 1, 0),
        level_group("encoder"): (3, 1, 1),
        label_group(0): (3, 1, 0),
        label_group(1): (3, 1, 1),
    }


@given(cut=st.integers(0, 40), seed=st.integers(0, 5))
def test_restored_evidence_goes_on_as_if_nothing_had_happened(cut: int, seed: int) -> None:
    audits = audits_of(*stream(seed, 400, 0.3))
    steady, first = Evidence(RATE, 0.95, 120), Evidence(RATE, 0.95, 120)
    steady.take(audits)
    first.take(audits[:cut])
    second = Evidence(RATE, 0.95, 120)
    second.restore(first.snapshot())
    second.take(audits[cut:])
    assert second.snapshot() == steady.snapshot()


def test_rarer_audits_begin_anew_and_others_go_on() -> None:
    old = Evidence(RATE, 0.95, 100)
    old.take(audits_of(*stream(0, 200, 0.1)))
    more, fewer = Evidence(2 * RATE, 0.95, 100), Evidence(RATE / 2, 0.95, 100)
    for new in (more, fewer):
        new.restore(old.snapshot())
    assert more.total(EVERYTHING) == old.total(EVERYTHING)
    assert fewer.total(EVERYTHING).accepted == 0


@pytest.mark.parametrize("least", [RATE / 2, 2 * RATE])
def test_what_steers_a_policy_is_refused_under_another_probability(least: float) -> None:
    old, same, other = (Evidence(p, 0.95, 100, steers=True) for p in (RATE, RATE, least))
    other.restore(old.snapshot())  # nothing was found yet
    old.take(audits_of(*stream(0, 200, 0.1)))
    same.restore(old.snapshot())
    assert same.disagreeing == old.disagreeing > 0
    with pytest.raises(ValueError, match=r"go on with .* audit: 0\.1"):
        other.restore(old.snapshot())


@pytest.mark.parametrize(
    "forged",
    [
        b"{}",
        b'{"least": 0}',
        b'{"least": 0.1, "trails": {"all": {"life": {"accepted": -1}}}}',
        b'{"least": 0.1, "trails": {"all": {"life": {"disagreeing": {"0.1": -1}}}}}',
        b'{"least": 0.1, "trails": {"all": {"life": {"disagreeing": {"0.01": 1}}}}}',
    ],
)
def test_counts_that_can_not_be_are_refused(forged: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        Evidence(RATE, 0.95, 100).restore(forged)

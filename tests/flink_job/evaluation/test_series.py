import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_job.evaluation.joining import Reference
from flink_job.evaluation.series import running_series
from operators.records import Decision, Reason

LEVELS = ("linear", "expert")


def decision(level: str, label: str = "yes", calls: int = 0) -> Decision:
    return Decision(
        "x", "k", "t", "", label, (0.5, 0.5), level, None, Reason.ACCEPTED, 0.0, calls=calls
    )


def test_no_events_have_no_course() -> None:
    assert running_series([], [], LEVELS) == ()


def test_one_event_is_one_bin() -> None:
    (only,) = running_series([Reference("x", "yes", "no")], [decision("expert", calls=2)], LEVELS)
    assert (only.end, only.shares, only.calls) == (1, (0.0, 1.0), 2)
    assert (only.agreement, only.accuracy) == (0.0, 1.0)


def test_a_long_stream_has_a_hundred_bins() -> None:
    series = running_series([Reference("x")] * 12_345, [decision("linear")] * 12_345, LEVELS)
    assert len(series) == 100
    assert series[-1].end == 12_345
    assert series[0].agreement is None
    assert series[0].accuracy is None


def test_each_bin_counts_its_own_events_and_calls_add_up() -> None:
    references = [Reference("x", "yes", "yes")] * 40
    answers = [decision("expert", calls=1)] * 20 + [decision("linear", "no")] * 20
    first, second = running_series(references, answers, LEVELS)
    assert (first.shares, second.shares) == ((0.0, 1.0), (1.0, 0.0))
    assert (first.calls, second.calls) == (20, 20)
    assert (first.agreement, second.agreement) == (1.0, 0.0)


def test_a_bin_without_decisions_has_no_shares() -> None:
    (only,) = running_series([Reference("x", "yes")], [None], LEVELS)
    assert only.shares == (0.0, 0.0)
    assert only.accuracy is None


@given(
    answers=st.lists(
        st.sampled_from([None, decision("linear", calls=0), decision("expert", "no", calls=3)]),
        min_size=1,
        max_size=300,
    )
)
def test_bins_cover_the_stream_and_lose_nothing(answers: list[Decision | None]) -> None:
    references = [Reference("x", "yes", "no")] * len(answers)
    series = running_series(references, answers, LEVELS)
    ends = [b.end for b in series]
    assert ends == sorted(set(ends))
    assert ends[-1] == len(answers)
    assert series[-1].calls == sum(a.calls for a in answers if a is not None)
    for b in series:
        assert sum(b.shares) == pytest.approx(1) or (sum(b.shares) == 0 and b.accuracy is None)

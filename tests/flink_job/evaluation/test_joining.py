from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from flink_job.evaluation.joining import Reference, join
from operators.records import Decision, Reason

IDS = st.lists(st.sampled_from("abcde"), max_size=12)


def decision(name: str, time: str = "") -> Decision:
    return Decision(name, "k", "t", time, "yes", (0.0, 1.0), "linear", None, Reason.ACCEPTED, 0.0)


def test_decisions_come_out_in_stream_order() -> None:
    joined = join([Reference("a"), Reference("b")], [decision("b"), decision("a")])
    assert joined.answers == (decision("a"), decision("b"))
    assert (joined.missing, joined.doubled, joined.unknown) == ((), (), ())


def test_events_that_share_an_id_get_its_decisions_in_order() -> None:
    first, second, third = (decision("a", time) for time in "123")
    joined = join([Reference("a"), Reference("b"), Reference("a")], [first, second, third])
    assert joined.answers == (first, None, second)
    assert joined.missing == ("b",)
    assert joined.doubled == ("a",)


@given(events=IDS, decided=IDS)
def test_ids_are_counted_as_multisets(events: list[str], decided: list[str]) -> None:
    joined = join([Reference(name) for name in events], [decision(name) for name in decided])
    extra = Counter(decided) - Counter(events)
    assert Counter(joined.missing) == Counter(events) - Counter(decided)
    assert Counter(joined.doubled) + Counter(joined.unknown) == extra
    assert set(joined.unknown) == set(decided) - set(events)
    assert not set(joined.doubled) & set(joined.unknown)
    for name, answer in zip(events, joined.answers, strict=True):
        assert answer is None or answer.id == name

"""What is lost from a stream is said; what is not is not. Without a server: a stream as a list."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_job.sources.entry_ids import BEFORE_ALL
from flink_job.sources.redis_streams import Look
from flink_job.sources.standing import Standing, advance


@dataclass
class Stream:
    """A stream as Redis keeps one; entries are numbers, from 1 on."""

    counts: bool
    """Whether Redis is one that counts what was added (7)."""
    entries: list[int] = field(default_factory=list)
    newest: int = 0

    def add(self, many: int) -> None:
        self.entries += range(self.newest + 1, self.newest + 1 + many)
        self.newest += many

    def trim(self, keep: int) -> None:
        del self.entries[: max(0, len(self.entries) - keep)]

    def look(self, behind: str, most: int) -> Look:
        number = int(behind.split("-")[0])
        ids = [f"{n}-0" for n in self.entries if n > number][:most]
        ends = [f"{n}-0" for n in self.entries] or [None]
        added = self.newest if self.counts else None
        return Look(
            ids, [b""] * len(ids), ends[0], ends[-1], f"{self.newest}-0", len(self.entries), added
        )


def number_of(entry: str) -> int:
    return int(entry.split("-")[0])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["add", "trim"]), st.integers(0, 5)),
        st.just(("read", 0)),
    ),
    max_size=30,
)


@given(steps=STEPS, counts=st.booleans(), most=st.integers(1, 4))
def test_all_is_read_once_or_said_to_be_lost(
    steps: list[tuple[str, int]], counts: bool, most: int
) -> None:
    stream, standing, read = Stream(counts), Standing(BEFORE_ALL), [0]
    for step, many in [*steps, *[("read", 0)] * 50]:
        if step == "add":
            stream.add(many)
        elif step == "trim":
            stream.trim(many)
        else:
            look = stream.look(standing.last, most)
            began = standing.reading
            after, lost = advance(standing, look)
            ids = [number_of(entry) for entry in look.ids]
            assert ids == sorted(ids)
            missing = (ids[0] if ids else stream.newest + 1) - number_of(standing.last) - 1
            if missing and began:
                assert lost is not None
            if not missing and (counts or not ids):
                # A count that is not known yet, for there was always more, can say nothing.
                assert lost is None or (standing.added is None and ids)
            if lost and "may" not in lost and ids:
                assert lost.startswith(f"{missing} entries behind {standing.last} were removed")
            read += ids
            standing = after
    assert len(read) == len(set(read))
    assert number_of(standing.last) == stream.newest
    assert advance(standing, stream.look(standing.last, most)) == (standing, None)


def at(last: int, **changes: object) -> Standing:
    return Standing(f"{last}-0", reading=True, **changes)  # type: ignore[arg-type]  # as given


@pytest.mark.parametrize(
    ("counts", "said"),
    [(True, "3 entries behind 4-0 were removed"), (False, "between 4-0 and 8-0 may have been")],
)
def test_how_many_were_trimmed_is_said_where_redis_counts(counts: bool, said: str) -> None:
    stream = Stream(counts)
    stream.add(4)
    standing, lost = advance(Standing(BEFORE_ALL), stream.look(BEFORE_ALL, 10))
    assert (standing.last, lost) == ("4-0", None)
    stream.add(6)
    stream.trim(3)
    standing, lost = advance(standing, stream.look(standing.last, 10))
    assert lost is not None
    assert said in lost
    assert "Operator action: trim" in lost
    assert standing == at(10, added=10 if counts else None)


def test_a_loss_is_told_once_though_more_is_left_than_one_look_reads() -> None:
    stream = Stream(counts=True)
    stream.add(4)
    standing, _ = advance(Standing(BEFORE_ALL), stream.look(BEFORE_ALL, 10))
    stream.add(20)
    stream.trim(15)  # 5 to 9 are gone
    standing, lost = advance(standing, stream.look("4-0", 6))
    assert lost is not None
    assert "5 entries behind 4-0 were removed" in lost
    assert standing == at(15, added=15)
    stream.trim(9)  # up to 15, as they were read
    standing, lost = advance(standing, stream.look("15-0", 6))
    assert (standing, lost) == (at(21, added=21), None)


def test_what_was_trimmed_before_the_job_began_is_no_loss() -> None:
    stream = Stream(counts=True)
    stream.add(9)
    stream.trim(2)
    _, lost = advance(Standing("3-0"), stream.look("3-0", 10))
    assert lost is None


def test_a_stream_that_is_trimmed_to_nothing_once_it_is_read_has_lost_nothing() -> None:
    for counts in (False, True):
        stream = Stream(counts)
        stream.add(5)
        standing, _ = advance(at(2), stream.look("2-0", 10))
        stream.trim(0)
        assert advance(standing, stream.look("5-0", 10)) == (standing, None)


def test_what_is_added_and_trimmed_between_two_looks_is_missed() -> None:
    stream = Stream(counts=False)
    stream.add(5)
    stream.trim(0)
    standing, lost = advance(at(2), stream.look("2-0", 10))
    assert lost is not None
    assert "entries behind 2-0, up to 5-0, were removed" in lost
    assert standing == at(5)


def test_a_stream_that_is_gone_is_missed_once() -> None:
    standing, lost = advance(at(7, added=7), None)
    assert lost is not None
    assert "is gone; what was in it behind 7-0 is lost" in lost
    assert advance(standing, None) == (standing, None)
    stream = Stream(counts=True, newest=8)
    stream.add(2)  # made anew, later
    standing, lost = advance(standing, stream.look("7-0", 10))
    assert (standing, lost) == (at(10, added=10), None)


def test_a_stream_that_was_never_there_is_waited_for() -> None:
    assert advance(Standing(BEFORE_ALL), None) == (Standing(BEFORE_ALL), None)


def test_a_stream_that_ends_before_what_was_read_is_said_to_once() -> None:
    stream = Stream(counts=False)
    stream.add(3)
    for before in (at(7), at(7, trouble="gone")):
        standing, lost = advance(before, stream.look("7-0", 10))
        assert lost is not None
        assert "ends with 3-0, but was read up to 7-0" in lost
        assert advance(standing, stream.look("7-0", 10)) == (standing, None)
    stream.add(6)
    standing, lost = advance(standing, stream.look("7-0", 10))
    assert (standing, lost) == (at(9), None)


def test_a_count_that_went_back_is_not_taken_for_one() -> None:
    stream = Stream(counts=True, newest=7)
    stream.add(2)
    look = stream.look("7-0", 10)
    anew = Look(look.ids, look.contents, look.first, look.last, look.newest, 2, added=2)
    _, lost = advance(at(7, added=7), anew)
    assert lost is not None
    assert "may have been removed" in lost


def test_a_job_that_begins_in_the_future_waits_for_it() -> None:
    stream = Stream(counts=True)
    stream.add(3)
    assert advance(Standing("9-0"), stream.look("9-0", 10)) == (Standing("9-0"), None)

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_job.sources.entry_ids import BEFORE_ALL, is_behind, last_before, parts_of, time_in

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NUMBERS = st.integers(0, 2**64 - 1)
IDS = st.builds("{}-{}".format, NUMBERS, NUMBERS)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1))  # noqa: DTZ001  # in UTC


@given(IDS, IDS)
def test_ids_are_ordered_by_their_numbers(one: str, other: str) -> None:
    assert is_behind(one, other) == (parts_of(one) > parts_of(other))
    assert is_behind(one, other) + is_behind(other, one) + (one == other) == 1


def test_the_order_is_not_that_of_the_text() -> None:
    assert is_behind("10-0", "9-5")
    assert is_behind("9-10", "9-9")


@given(MOMENTS)
def test_a_job_that_begins_at_a_time_reads_what_was_added_from_then_on(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC)
    elsewhere = aware.astimezone(timezone(timedelta(hours=5)))
    behind = last_before(moment)
    assert behind == last_before(aware) == last_before(elsewhere)
    whole, rest = divmod(aware - EPOCH, timedelta(milliseconds=1))
    first = whole + bool(rest)
    assert is_behind(f"{first}-{int(first == 0)}", behind)
    assert first == 0 or not is_behind(f"{first - 1}-{2**64 - 1}", behind)


@pytest.mark.parametrize("moment", [datetime(1969, 7, 20, tzinfo=UTC), EPOCH])
def test_before_time_began_is_before_all(moment: datetime) -> None:
    assert last_before(moment) == BEFORE_ALL


def test_an_id_tells_when_it_was_given() -> None:
    assert time_in("1769903999123-7") == "2026-01-31 23:59:59.123"


@given(IDS)
def test_any_id_has_a_time_or_none(entry: str) -> None:
    told = time_in(entry)
    if told is None:
        assert parts_of(entry)[0] > 253_402_300_799_999  # the end of the year 9999
    else:
        since = datetime.fromisoformat(told).replace(tzinfo=UTC) - EPOCH
        assert since // timedelta(milliseconds=1) == parts_of(entry)[0]

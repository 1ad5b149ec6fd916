import pytest

from flink_job.evaluation.results import Proportion
from flink_job.report import formats


def test_numbers_as_people_read_them() -> None:
    assert formats.count(12_500) == "12,500"
    assert formats.percent(0.9341) == "93.4 %"
    assert formats.proportion(Proportion(9, 10, 0.9, 0.596, 0.982)) == "90.0 % (59.6 to 98.2)"
    assert formats.score(0.5341) == "0.534"


def test_zero_is_a_number_and_none_is_not() -> None:
    assert formats.score(0.0) == "0.000"
    assert formats.score(None) == formats.proportion(None) == formats.UNKNOWN


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "$0.00"), (0.0123, "$0.0123"), (1, "$1.00"), (1234.5, "$1,234.50")]
)
def test_small_sums_keep_their_digits(amount: float, text: str) -> None:
    assert formats.dollars(amount) == text

"""What a call meets is a function of settings, text and attempt, and follows the rates."""

from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_job.demo.behaviour import FAILURE_KINDS, EndpointSettings, conduct

RATES = st.floats(0, 1)


@given(st.integers(), st.text(), st.integers(0, 100), RATES, RATES)
@settings(deadline=None)
def test_raising_the_rate_only_adds_failures(
    seed: int, key: str, attempt: int, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    calm = conduct(EndpointSettings(seed=seed, failure_rate=low), key, attempt)
    wild = conduct(EndpointSettings(seed=seed, failure_rate=high), key, attempt)
    assert calm == conduct(EndpointSettings(seed=seed, failure_rate=low), key, attempt)
    assert calm.latency_s == wild.latency_s > 0
    assert calm.failure in (None, wild.failure)


def test_rates_and_latencies_come_out_as_set() -> None:
    world = EndpointSettings(failure_rate=0.3, latency_ms_median=200.0, latency_sigma=0.5)
    met = [conduct(world, f"text {i}", 0) for i in range(2000)]
    failed = [each.failure for each in met if each.failure is not None]
    assert 0.26 < len(failed) / len(met) < 0.34
    assert set(failed) == set(FAILURE_KINDS)
    assert 0.185 < median(each.latency_s for each in met) < 0.215
    assert max(each.latency_s for each in met) > 0.5


def test_attempts_at_one_text_differ() -> None:
    world = EndpointSettings(failure_rate=0.5)
    assert len({conduct(world, "text", attempt).latency_s for attempt in range(10)}) == 10


def test_the_key_is_not_in_the_repr() -> None:
    assert "secret" not in repr(EndpointSettings(api_key="secret"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"failure_rate": 1.1},
        {"failure_rate": True},
        {"failure_rate": "0.5"},
        {"failure_rate": float("nan")},
        {"failure_rate": 0.1, "failure_kinds": ()},
        {"failure_kinds": ("fire",)},
        {"failure_kinds": "429"},
        {"failure_kinds": ([],)},
        {"latency_ms_median": -1},
        {"latency_sigma": float("inf")},
        {"hang_s": None},
        {"hang_s": 10**400},
        {"latency_sigma": 6},
        {"retry_after_s": -1},
        {"api_key": ""},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Operator action"):
        EndpointSettings(**wrong)

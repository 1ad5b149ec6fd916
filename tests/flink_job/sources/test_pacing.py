from __future__ import annotations

import logging

import pytest

from flink_job.sources.pacing import Pacer
from model_store.errors import StoreUnavailable
from model_store.ledger import Usage
from model_store.memory_ledger import MemoryLedger


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> MemoryLedger:
    return MemoryLedger(ttl_s=1000.0, monotonic=clock)


def test_the_first_block_waits_for_nothing(ledger: MemoryLedger, clock: Clock) -> None:
    assert Pacer(ledger, 0, clock).ready()


def test_the_next_block_waits_until_the_last_was_decided(
    ledger: MemoryLedger, clock: Clock
) -> None:
    pacer = Pacer(ledger, 64, clock)
    assert pacer.ready()
    pacer.emitted(10)
    assert not pacer.ready()
    ledger.progress("a", seen=4, deferred=0)
    assert not pacer.ready()
    ledger.progress("b", seen=6, deferred=0)
    assert pacer.ready()


@pytest.mark.parametrize(("lag", "settled"), [(0, 8), (3, 5)])
def test_the_next_block_waits_until_few_verdicts_are_outstanding(
    ledger: MemoryLedger, clock: Clock, lag: int, settled: int
) -> None:
    pacer = Pacer(ledger, lag, clock)
    assert pacer.ready()
    pacer.emitted(10)
    ledger.progress("a", seen=10, deferred=8)
    ledger.settle(settled - 1)
    assert not pacer.ready()
    ledger.settle(settled)
    assert pacer.ready()


def test_what_an_earlier_reader_sent_does_not_count(ledger: MemoryLedger, clock: Clock) -> None:
    ledger.progress("a", seen=500, deferred=0)
    pacer = Pacer(ledger, 0, clock)
    assert pacer.ready()
    pacer.emitted(10)
    assert not pacer.ready()
    ledger.progress("a", seen=510, deferred=0)
    assert pacer.ready()


def test_after_a_restore_the_counts_fall_back(ledger: MemoryLedger, clock: Clock) -> None:
    ledger.progress("a", seen=500, deferred=0)
    pacer = Pacer(ledger, 0, clock)
    assert pacer.ready()
    pacer.emitted(10)
    ledger.progress("a", seen=400, deferred=0)
    assert not pacer.ready()
    ledger.progress("a", seen=410, deferred=0)
    assert pacer.ready()


def test_a_loop_that_stands_still_holds_up_nothing_for_ever(
    ledger: MemoryLedger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    pacer = Pacer(ledger, 0, clock)
    assert pacer.ready()
    pacer.emitted(10)
    assert not pacer.ready()
    clock.now += 4.0
    assert not pacer.ready()
    ledger.progress("a", seen=5, deferred=0)  # it moves: patience begins anew
    assert not pacer.ready()
    clock.now += 4.0
    assert not pacer.ready()
    clock.now += 2.0
    with caplog.at_level(logging.WARNING):
        assert pacer.ready()
    assert "no progress for 5.0 s" in caplog.text
    pacer.emitted(10)  # what was lost on the way is not waited for again
    assert not pacer.ready()
    ledger.progress("a", seen=15, deferred=0)
    assert pacer.ready()


def test_without_a_ledger_the_source_reads_on(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    class Down(MemoryLedger):
        def usage(self) -> Usage:
            raise StoreUnavailable("redis://nowhere", "refused")

    pacer = Pacer(Down(ttl_s=1.0, monotonic=clock), 0, clock)
    pacer.emitted(10)
    with caplog.at_level(logging.WARNING):
        assert pacer.ready()
    assert "reading without pacing" in caplog.text


def test_a_stream_ends_when_all_of_it_was_decided_and_every_verdict_has_come(
    ledger: MemoryLedger, clock: Clock
) -> None:
    pacer = Pacer(ledger, 64, clock)
    assert pacer.ready()
    pacer.emitted(10)
    ledger.progress("a", seen=10, deferred=2)
    ledger.settle(1)
    assert not pacer.settled()
    ledger.settle(2)
    assert pacer.settled()


def test_a_restored_stream_ends_though_it_sent_again_what_had_been_counted(
    ledger: MemoryLedger, clock: Clock
) -> None:
    ledger.progress("a", seen=10, deferred=2)
    pacer = Pacer(ledger, 64, clock)
    assert pacer.ready()
    pacer.emitted(3)
    ledger.progress("a", seen=10, deferred=2)  # the last three of the ten were sent again
    assert not pacer.settled()
    clock.now += 6.0
    assert not pacer.settled()  # verdicts are missing, however long nothing moves
    ledger.settle(2)
    assert not pacer.settled()
    clock.now += 6.0
    assert pacer.settled()

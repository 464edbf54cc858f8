"""How long is waited before the next try."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tally.backoff import Backoff
from tests.fakes import FakeClock


def longest(_: float, most: float) -> float:
    return most


@given(st.integers(1, 100), st.floats(0.001, 10), st.floats(0.001, 600))
def test_waits_double_up_to_the_most_and_never_spin(failures: int, first: float, most: float) -> None:
    backoff = Backoff(first_seconds=first, most_seconds=most)
    waits = [backoff.next_seconds() for _ in range(failures)]
    for failure, waited in enumerate(waits):
        full = min(most, first * 2.0**failure)
        assert full / 10 * 0.999 <= waited <= full * 1.001


def test_waits_are_spread_so_that_clients_do_not_come_all_at_once() -> None:
    waits = [Backoff(first_seconds=16, most_seconds=100).next_seconds() for _ in range(200)]
    assert min(waits) < 16 * 0.3
    assert max(waits) > 16 * 0.8


def test_what_went_well_makes_the_next_wait_a_short_one() -> None:
    backoff = Backoff(first_seconds=1, jitter=longest)
    assert [backoff.next_seconds() for _ in range(3)] == [1, 2, 4]
    backoff.reset()
    assert [backoff.next_seconds() for _ in range(2)] == [1, 2]
    assert backoff.failures == 2


@pytest.mark.parametrize(("ran_seconds", "waits"), [(60.0, [1, 2, 4]), (60.5, [1, 1, 1])])
def test_what_ran_steadily_before_it_failed_waits_as_after_a_first_failure(
    ran_seconds: float, waits: list[float]
) -> None:
    clock = FakeClock()
    backoff = Backoff(first_seconds=1, steady_seconds=60, jitter=longest, clock=clock)
    found = []
    for _ in range(3):
        backoff.begin()
        clock.now += ran_seconds
        found.append(backoff.next_seconds())
        clock.now += 1000  # waiting is not running
    assert found == waits

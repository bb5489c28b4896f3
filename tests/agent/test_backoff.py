import pytest

from reconciler.agent.backoff import Backoff, jittered


def test_each_failure_doubles_the_wait_up_to_the_limit() -> None:
    backoff = Backoff(first=1, limit=8)
    assert [backoff.delay(failures, lambda: 1.0) for failures in (1, 2, 3, 4, 5, 500)] == [
        *(1, 2, 4),
        *(8, 8, 8),
    ]


def test_half_of_the_wait_is_random() -> None:
    backoff = Backoff(first=4, limit=60)
    assert backoff.delay(1, lambda: 0.0) == 2
    assert backoff.delay(1, lambda: 0.5) == 3


def test_jitter_spreads_an_interval_by_a_fifth_to_both_sides() -> None:
    assert jittered(10, lambda: 0.0) == 8
    assert jittered(10, lambda: 0.5) == 10
    assert jittered(10, lambda: 1.0) == pytest.approx(12)

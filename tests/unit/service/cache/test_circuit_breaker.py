"""The circuit breaker of memcached servers."""

from service.cache.circuit_breaker import COOLDOWN_S, FAILURE_THRESHOLD, CircuitBreaker
from tests.fakes.clocks import Clock


def open_breaker(clock):
    breaker = CircuitBreaker(clock)
    opened = [breaker.record_failure() for _ in range(FAILURE_THRESHOLD)]
    assert opened == [False] * (FAILURE_THRESHOLD - 1) + [True]
    return breaker


def test_consecutive_failures_open_the_circuit_and_report_it_once():
    breaker = open_breaker(Clock())
    assert breaker.is_open
    assert not breaker.allows()
    assert not breaker.record_failure()


def test_a_success_between_failures_keeps_the_circuit_closed():
    breaker = CircuitBreaker(Clock())
    for _ in range(5):
        for _ in range(FAILURE_THRESHOLD - 1):
            breaker.record_failure()
        assert not breaker.record_success()
    assert breaker.allows()


def test_one_probe_is_allowed_after_each_cooldown():
    clock = Clock()
    breaker = open_breaker(clock)
    clock.now += COOLDOWN_S
    assert [breaker.allows(), breaker.allows()] == [True, False]
    breaker.record_failure()
    assert not breaker.allows()
    clock.now += COOLDOWN_S
    assert breaker.allows()
    assert breaker.record_success()
    assert [breaker.allows(), breaker.allows()] == [True, True]


def test_a_probe_without_a_recorded_outcome_does_not_block_the_next_one():
    clock = Clock()
    breaker = open_breaker(clock)
    clock.now += COOLDOWN_S
    assert breaker.allows()
    clock.now += COOLDOWN_S
    assert breaker.allows()

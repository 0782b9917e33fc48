"""When a server that fails is left alone."""

from service.cache.circuit_breaker import FAILURES, PAUSE_S, CircuitBreaker
from tests.fakes.clocks import Clock


def opened(clock):
    breaker = CircuitBreaker(clock)
    assert [breaker.failed() for _ in range(FAILURES)] == [False] * (FAILURES - 1) + [True]
    return breaker


def test_some_failures_in_a_row_open_it_and_it_says_so_once():
    breaker = opened(Clock())
    assert breaker.is_open
    assert not breaker.allows()
    assert not breaker.failed()


def test_a_success_between_failures_keeps_it_closed():
    breaker = CircuitBreaker(Clock())
    for _ in range(5):
        for _ in range(FAILURES - 1):
            breaker.failed()
        assert not breaker.succeeded()
    assert breaker.allows()


def test_after_a_pause_one_may_try_and_the_others_wait_for_how_it_fares():
    clock = Clock()
    breaker = opened(clock)
    clock.now += PAUSE_S
    assert [breaker.allows(), breaker.allows()] == [True, False]
    breaker.failed()
    assert not breaker.allows()
    clock.now += PAUSE_S
    assert breaker.allows()
    assert breaker.succeeded()
    assert [breaker.allows(), breaker.allows()] == [True, True]


def test_whoever_tries_and_never_tells_does_not_keep_it_open_for_ever():
    clock = Clock()
    breaker = opened(clock)
    clock.now += PAUSE_S
    assert breaker.allows()
    clock.now += PAUSE_S
    assert breaker.allows()

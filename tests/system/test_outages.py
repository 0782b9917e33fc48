"""Outages of Postgres and memcached under load: replies are correct or 503, in bounded time, and service recovers."""

import random
import time
from contextlib import closing

import pytest

from service.postgres.connect import connect
from service.postgres.pool import TIMEOUT_MARGIN_S
from service.standalone.embedded_postgres import HOST
from tests.fakes.memcached import memcached, needs_memcached
from tests.fakes.replica import primary_of_its_own, reaching
from tests.fakes.tcp_proxy import TcpProxy
from tests.fakes.tcp_proxy import running as running_proxy
from tests.models.shadow_ledger import ShadowLedger
from tests.support.load_clients import LoadClients, Poster, any_event
from tests.support.processes import serving

MAX_STALENESS_S = 2.0
TIMEOUT_S = 1  # for the pool, for connecting, and for a statement
MEMCACHED_TIMEOUT_S = 0.05
HOT = 1
COLD = range(2, 42)
BUSY_MACHINE_S = 1.0  # allowance for a busy machine
# A request waits for a pooled connection, opens one, and sends its query. It does not repeat a timed-out query, a lost
# connection is noticed immediately, and a failure to connect fails the following requests for a second.
POSTGRES_BOUND_S = TIMEOUT_S + TIMEOUT_S + (TIMEOUT_S + TIMEOUT_MARGIN_S) + BUSY_MACHINE_S
# Three failures, of connecting, reading or writing, open the circuit.
MEMCACHED_BOUND_S = 4 * MEMCACHED_TIMEOUT_S + BUSY_MACHINE_S
RETURN_S = 3.0

LIMITS = {
    "MAX_STALENESS_S": str(MAX_STALENESS_S), "PSQL_POOL_TIMEOUT_S": str(TIMEOUT_S), "THREADS": "8",
    "PSQL_CONNECT_TIMEOUT_S": str(TIMEOUT_S), "PSQL_STATEMENT_TIMEOUT_S": str(TIMEOUT_S),
    "MEMCACHED_TIMEOUT_S": str(MEMCACHED_TIMEOUT_S),
}  # fmt: skip


@pytest.fixture(scope="module")
def primary():
    with primary_of_its_own() as server:
        settings = reaching(server)
        with closing(connect(settings, "posting")) as connection:
            server.books = ShadowLedger(MAX_STALENESS_S)
            server.books.create(connection, [HOT, *COLD])
        yield server


def cold_loan() -> int:
    return random.choice(COLD)


def test_replies_are_correct_or_503_in_bounded_time_while_postgres_is_unavailable(
    primary, keys_dir, bearer, report_measurement
):
    def crash() -> None:
        primary.stop("immediate")

    books, settings = primary.books, reaching(primary)
    poster = Poster(books, settings, lambda: [any_event(cold_loan())])
    outages = {"stopped": (primary.freeze, primary.thaw), "crashed": (crash, primary.start_again)}
    periods = {}
    with serving(settings, keys_dir, **LIMITS) as (origin, read_log), closing(poster):
        hot = LoadClients(books, [origin], bearer, lambda: HOT)
        cold = LoadClients(books, [origin], bearer, cold_loan)
        with hot.at_work(hot.read, hot.read), cold.at_work(cold.read, cold.read, poster.post):
            time.sleep(2)
            for phase, (fail, recover) in outages.items():
                hot.phase = cold.phase = phase
                fail()
                begun = time.monotonic()
                time.sleep(MAX_STALENESS_S + 2)
                recover()
                periods[phase] = begun, time.monotonic()
                time.sleep(RETURN_S + 0.2)
        log = read_log()

    replies = hot.replies + cold.replies
    assert hot.faults() + cold.faults() == []
    assert {reply.status for reply in replies} == {200, 503}
    assert all(reply.retry_after for reply in replies if reply.status == 503)
    assert "Traceback" not in log
    longest = max(reply.took for reply in replies)
    assert longest < POSTGRES_BOUND_S
    for phase, (begun, back) in periods.items():
        # the last round trip began up to a third of MAX_STALENESS_S earlier
        fresh_until = begun + MAX_STALENESS_S * 2 / 3 - 0.2
        assert {reply.status for reply in hot.replies if begun <= reply.asked < fresh_until} == {200}
        refused = [reply.asked for reply in replies if reply.phase == phase and reply.status == 503]
        assert refused
        returned = max(0.0, max(refused) - back)
        assert returned < RETURN_S
        served = sum(reply.status == 200 for reply in replies if begun <= reply.asked < back)
        report_measurement(
            f"Postgres {phase} for {back - begun:.1f} s: {served} right replies, {len(refused)} with 503; the last 503 "
            f"was requested {returned:.2f} s after its return"
        )
    report_measurement(f"    the longest request took {longest:.2f} s (bound {POSTGRES_BOUND_S})")


@needs_memcached
def test_no_request_fails_or_takes_long_while_memcached_is_unavailable(primary, keys_dir, bearer, report_measurement):
    books, settings = primary.books, reaching(primary)
    used = {}
    with (
        memcached() as cache,
        running_proxy(TcpProxy(cache.port)) as proxy,
        closing(Poster(books, settings, lambda: [any_event(cold_loan())])) as poster,
    ):
        outages = {
            "stopped": (cache.pause, cache.resume), "silent": (proxy.silence, proxy.speak),
            "killed": (cache.stop, cache.start),
        }  # fmt: skip
        place = {"MEMCACHED_SERVERS": f"{HOST}:{proxy.port}", "CACHE_SECRET": "a secret of the cache's"}
        with serving(settings, keys_dir, **LIMITS, **place, CACHE_BYTES="0") as (origin, read_log):
            callers = LoadClients(books, [origin], bearer, cold_loan)
            with callers.at_work(*[callers.read] * 4, poster.post):
                time.sleep(1)
                for phase, (fail, recover) in outages.items():
                    callers.phase = phase
                    fail()
                    time.sleep(1.5)
                    recover()
                    time.sleep(1.5)  # the circuit breaker probes once a second
                    before = cache.requests()
                    time.sleep(0.5)
                    used[phase] = cache.requests() - before
            log = read_log()

    assert callers.faults() == []
    assert callers.refusals() == {}
    assert "Traceback" not in log
    assert min(used.values()) > 10, used
    longest = {phase: max(reply.took for reply in callers.replies if reply.phase == phase) for phase in used}
    assert max(longest.values()) < MEMCACHED_BOUND_S, longest
    durations = ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in longest.items())
    report_measurement(
        f"memcached unavailable under load: {len(callers.replies)} replies, all correct; longest request: {durations}"
    )

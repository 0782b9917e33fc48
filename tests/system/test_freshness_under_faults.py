"""No reply is wrong or too old while caches and listeners of two services fail.

LOANER_SOAK_S is the minimum duration in seconds. Without it, each fault occurs once.
"""

import os
import random
import time
from collections import Counter
from contextlib import ExitStack, closing
from itertools import cycle

import pytest

from service.postgres.connect import connect
from service.standalone.embedded_postgres import HOST
from tests.conftest import sql
from tests.fakes.memcached import Memcached, memcached, needs_memcached
from tests.fakes.tcp_proxy import TcpProxy
from tests.fakes.tcp_proxy import running as running_proxy
from tests.models.shadow_ledger import ShadowLedger
from tests.support.load_clients import LoadClients, any_event
from tests.support.processes import serving

SOAK_S = float(os.environ.get("LOANER_SOAK_S", "0"))
MAX_STALENESS_S = 2.0
HELD_UP_S = 1.5  # longer than a request takes, shorter than a listener needs to notice a silent connection
HOT = range(1, 6)
BUSY = range(1, 21)
RARELY_POSTED = range(101, 111)  # loans with rare postings, so cached timelines become old
CROWD = range(101, 701)  # enough loans for a bulk notification
LISTENS = b"LISTEN loaner"
CUT = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'loaner reader'
      AND (query LIKE 'LISTEN%' OR query LIKE '%pg_snapshot_xmax%' OR query LIKE '%pg_listening_channels%')
"""


def some_loan() -> int:
    """Return a loan; some are requested more often, so processes cache them, and memcached serves the rest."""
    return random.choice(random.choice((HOT, BUSY, RARELY_POSTED)))


class Writers:
    """Posts to the ledger in three ways, each on a separate connection."""

    def __init__(self, callers: LoadClients, settings, stack: ExitStack) -> None:
        self.callers = callers
        self.books = callers.books
        self.elsewhere = cycle(callers.origins)
        self._connect = lambda: stack.enter_context(closing(connect(settings, "posting")))
        self._quick, self._slow, self._many = self._connect(), self._connect(), self._connect()

    def post_and_read(self) -> None:
        """Post an event, and sometimes read its version immediately."""
        loan = random.choice(RARELY_POSTED if random.random() < 0.15 else BUSY)
        with self.books.posting(self._quick, [any_event(loan)]) as versions:
            pass
        if random.random() < 0.3:
            with self.callers.connection(next(self.elsewhere)) as connection:
                self.callers.ask(connection, loan, min_version=versions[loan])
        time.sleep(random.uniform(0.01, 0.06))

    def post_slowly(self) -> None:
        """Keep a transaction open while others post, and sometimes roll it back."""
        events = [any_event(loan) for loan in random.choices(BUSY, k=random.randrange(1, 5))]
        with self.books.posting(self._slow, events, commits=random.random() < 0.7):
            time.sleep(random.uniform(0.05, 0.3))

    def post_to_all(self) -> None:
        """Post to so many loans that one bulk notification is sent."""
        with self.books.posting(self._many, [any_event(loan) for loan in CROWD]):
            pass
        time.sleep(random.uniform(1, 4))


class Faults:
    """Faults, one after the other. When one ends, recovery has begun."""

    def __init__(self, memcached: Memcached, memcached_proxy: TcpProxy, postgres_proxies: list[TcpProxy], admin):
        self.memcached = memcached
        self.memcached_proxy = memcached_proxy
        self.postgres_proxies = postgres_proxies
        self.admin = admin
        self.old: dict[str, bytes] = {}

    def nothing(self) -> None:
        time.sleep(1.5)
        self._remember()

    def memcached_is_flushed(self) -> None:
        for _ in range(5):
            with closing(self.memcached.client()) as client:
                client.flush_all()
            time.sleep(0.2)

    def memcached_is_stopped(self) -> None:
        self.memcached.pause()
        time.sleep(1)
        self.memcached.resume()
        time.sleep(0.5)

    def memcached_is_killed(self) -> None:
        self.memcached.stop()
        time.sleep(0.5)
        self.memcached.start()
        time.sleep(1.2)  # until the circuit breaker lets requests through

    def memcached_is_slow(self) -> None:
        for delay_s in (0.03, 0.2, 0):
            self.memcached_proxy.delay_s = delay_s
            time.sleep(0.6)

    def memcached_returns_old_values(self) -> None:
        """Repeatedly store old values under their own and other keys, whole, truncated and corrupted."""
        with closing(self.memcached.client()) as client:
            for _ in range(15):
                for key, value in self.old.items():
                    client.set(key, value)
                key, other = random.choices(list(self.old), k=2)
                client.set(key, self.old[other])
                client.set(other, self.old[other][: random.randrange(len(self.old[other]))])
                client.set(random.choice(list(self.old)), random.randbytes(random.randrange(300)))
                time.sleep(0.1)
        self._remember()

    def the_listeners_are_cut(self) -> None:
        for _ in range(2):
            assert sql(self.admin, CUT)[0][0] > 0
            time.sleep(1.2)

    def old_values_after_a_cut(self) -> None:
        """Notifications during a cut are lost: only their age exposes stale timelines."""
        self._remember()
        sql(self.admin, CUT)
        self.memcached_returns_old_values()

    def one_listener_is_silent_for_a_second(self) -> None:
        assert self.postgres_proxies[0].silence(LISTENS) == 2
        time.sleep(1)
        self.postgres_proxies[0].speak()

    def the_listeners_are_silent_for_long(self) -> None:
        for proxy in self.postgres_proxies:
            proxy.silence(LISTENS)
        time.sleep(MAX_STALENESS_S + 2)
        for proxy in self.postgres_proxies:
            proxy.speak()
        time.sleep(0.5)

    def _remember(self) -> None:
        """Save the current contents of memcached, to store them again later."""
        with closing(self.memcached.client()) as client:
            for key in self.memcached.held_keys():
                value = client.get(key)
                if value is not None:
                    self.old[key] = value

    def each(self):
        """Return all faults, in an order in which one makes the next one worse."""
        return (
            self.nothing, self.memcached_is_flushed, self.the_listeners_are_cut, self.memcached_returns_old_values,
            self.memcached_is_stopped, self.the_listeners_are_silent_for_long, self.memcached_is_slow,
            self.old_values_after_a_cut, self.memcached_is_killed, self.one_listener_is_silent_for_a_second,
        )  # fmt: skip


@pytest.fixture
def scene(settings, keys_dir, posting, admin, bearer):
    """Two services over one Postgres and one memcached, with proxies between them, faults and callers."""
    with ExitStack() as stack:
        cache = stack.enter_context(memcached())
        memcached_proxy = stack.enter_context(running_proxy(TcpProxy(cache.port)))
        postgres_proxies = [stack.enter_context(running_proxy(TcpProxy(settings.port))) for _ in range(2)]
        books = ShadowLedger(MAX_STALENESS_S)
        books.create(posting, [*BUSY, *CROWD])
        memory = {
            "MAX_STALENESS_S": str(MAX_STALENESS_S), "CACHE_BYTES": "40000", "CACHE_SECRET": "a secret of the cache's",
            "MEMCACHED_SERVERS": f"{HOST}:{memcached_proxy.port}",
        }  # fmt: skip
        origins, logs = zip(
            *(
                stack.enter_context(serving(settings, keys_dir, **memory, PSQL_PORT=str(proxy.port), PSQL_HOST=HOST))
                for proxy in postgres_proxies
            ),
            strict=True,
        )
        callers = LoadClients(books, list(origins), bearer, some_loan)
        writers = Writers(callers, settings, stack)
        yield callers, writers, Faults(cache, memcached_proxy, postgres_proxies, admin), logs


@needs_memcached
@pytest.mark.timeout(120 + 2 * SOAK_S)
def test_no_reply_is_wrong_or_too_old_while_caches_and_listeners_fail(scene, report_measurement):
    callers, writers, faults, logs = scene
    work = [callers.read] * 4 + [writers.post_and_read, writers.post_slowly, writers.post_to_all]
    begun = time.monotonic()
    with callers.at_work(*work):
        while True:
            for fault in faults.each():
                callers.phase = fault.__name__.replace("_", " ")
                fault()
            if time.monotonic() - begun >= SOAK_S:
                break
    duration_s = time.monotonic() - begun
    answered = [reply for reply in callers.replies if reply.status == 200]
    wrong = callers.faults()
    report_measurement(
        f"{len(answered)} replies in {duration_s:.0f} s of faults, checked against {callers.books.events} events: "
        f"{len(wrong)} wrong or too old"
    )
    longest = max(reply.took for reply in callers.replies)
    report_measurement(f"    the longest request took {longest:.2f} s")
    for phase, replies in Counter(reply.phase for reply in answered).items():
        report_measurement(f"    {replies} while {phase}")
    assert wrong == [], f"{len(wrong)} of {len(answered)}: " + "\n".join(random.sample(wrong, min(len(wrong), 20)))
    assert callers.refusals() == {}
    assert longest < HELD_UP_S  # Postgres was available all the time
    assert len(answered) > 1000
    for log in logs:
        assert "Traceback" not in log()

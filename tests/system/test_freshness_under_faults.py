"""Two services, and everything that may go wrong between them and their caches: no reply is wrong or older than
promised.

LOANER_SOAK_S says for how many seconds; each fault comes once if it is not set.
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
from tests.models.shadow_ledger import Books
from tests.support.load_clients import Callers, any_event
from tests.support.processes import serving

SOAK_S = float(os.environ.get("LOANER_SOAK_S", "0"))
MAX_STALENESS_S = 2.0
HELD_UP_S = 1.5  # more than a request takes, and less than a listener needs to notice that it hears nothing
HOT = range(1, 6)
BUSY = range(1, 21)
SELDOM = range(101, 111)  # loans that are read more often than posted to, so that what is cached grows old
CROWD = range(101, 701)  # so many that one notification stands for all
LISTENS = b"LISTEN loaner"
CUT = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'loaner reader'
      AND (query LIKE 'LISTEN%' OR query LIKE '%pg_snapshot_xmax%' OR query = 'SELECT 1')
"""


def some_loan() -> int:
    """Some are asked for more often than others, so that processes keep them and memcached is asked for the rest."""
    return random.choice(random.choice((HOT, BUSY, SELDOM)))


class Writers:
    """Who posts to the ledger, each on a connection of its own."""

    def __init__(self, callers: Callers, settings, stack: ExitStack) -> None:
        self.callers = callers
        self.books = callers.books
        self.elsewhere = cycle(callers.origins)
        self._connect = lambda: stack.enter_context(closing(connect(settings, "posting")))
        self._quick, self._slow, self._many = self._connect(), self._connect(), self._connect()

    def post_and_ask(self) -> None:
        """One event, asked for at once by who posted it, by its version."""
        loan = random.choice(SELDOM if random.random() < 0.15 else BUSY)
        with self.books.posting(self._quick, [any_event(loan)]) as versions:
            pass
        if random.random() < 0.3:
            with self.callers.connection(next(self.elsewhere)) as connection:
                self.callers.ask(connection, loan, min_version=versions[loan])
        time.sleep(random.uniform(0.01, 0.06))

    def take_long(self) -> None:
        """A transaction that stays open while others post, and may come to nothing."""
        events = [any_event(loan) for loan in random.choices(BUSY, k=random.randrange(1, 5))]
        with self.books.posting(self._slow, events, commits=random.random() < 0.7):
            time.sleep(random.uniform(0.05, 0.3))

    def post_to_all(self) -> None:
        """Events of more loans than a notification names."""
        with self.books.posting(self._many, [any_event(loan) for loan in CROWD]):
            pass
        time.sleep(random.uniform(1, 4))


class Faults:
    """What goes wrong, one thing after the other. Each is on its way back when it ends."""

    def __init__(self, memcached: Memcached, before_memcached: TcpProxy, before_postgres: list[TcpProxy], admin):
        self.memcached = memcached
        self.before_memcached = before_memcached
        self.before_postgres = before_postgres
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
        time.sleep(1.2)  # it is asked again

    def memcached_is_slow(self) -> None:
        for delay_s in (0.03, 0.2, 0):
            self.before_memcached.delay_s = delay_s
            time.sleep(0.6)

    def memcached_tells_old_things(self) -> None:
        """Under their own keys and under others, whole, cut off and changed; again and again."""
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

    def old_things_after_a_cut(self) -> None:
        """What is told while nobody listens, nobody is told of: only its age betrays what is cached."""
        self._remember()
        sql(self.admin, CUT)
        self.memcached_tells_old_things()

    def one_listener_is_silent_for_a_second(self) -> None:
        assert self.before_postgres[0].silence(LISTENS) == 2
        time.sleep(1)
        self.before_postgres[0].speak()

    def the_listeners_are_silent_for_long(self) -> None:
        for proxy in self.before_postgres:
            proxy.silence(LISTENS)
        time.sleep(MAX_STALENESS_S + 2)
        for proxy in self.before_postgres:
            proxy.speak()
        time.sleep(0.5)

    def _remember(self) -> None:
        """Keep what memcached holds now, to be put back later."""
        with closing(self.memcached.client()) as client:
            for key in self.memcached.held_keys():
                value = client.get(key)
                if value is not None:
                    self.old[key] = value

    def each(self):
        """All of this, in an order in which one thing makes the next one worse."""
        return (
            self.nothing, self.memcached_is_flushed, self.the_listeners_are_cut, self.memcached_tells_old_things,
            self.memcached_is_stopped, self.the_listeners_are_silent_for_long, self.memcached_is_slow,
            self.old_things_after_a_cut, self.memcached_is_killed, self.one_listener_is_silent_for_a_second,
        )  # fmt: skip


@pytest.fixture
def scene(settings, keys_dir, posting, admin, bearer):
    """Two services over one Postgres and one memcached, with proxies between; what may go wrong; and callers."""
    with ExitStack() as stack:
        cache = stack.enter_context(memcached())
        before_memcached = stack.enter_context(running_proxy(TcpProxy(cache.port)))
        before_postgres = [stack.enter_context(running_proxy(TcpProxy(settings.port))) for _ in range(2)]
        books = Books(MAX_STALENESS_S)
        books.create(posting, [*BUSY, *CROWD])
        memory = {
            "MAX_STALENESS_S": str(MAX_STALENESS_S), "CACHE_BYTES": "40000", "CACHE_SECRET": "a secret of the cache's",
            "MEMCACHED_SERVERS": f"{HOST}:{before_memcached.port}",
        }  # fmt: skip
        origins, logs = zip(
            *(
                stack.enter_context(serving(settings, keys_dir, **memory, PSQL_PORT=str(proxy.port), PSQL_HOST=HOST))
                for proxy in before_postgres
            ),
            strict=True,
        )
        callers = Callers(books, list(origins), bearer, some_loan)
        writers = Writers(callers, settings, stack)
        yield callers, writers, Faults(cache, before_memcached, before_postgres, admin), logs


@needs_memcached
@pytest.mark.timeout(120 + 2 * SOAK_S)
def test_no_reply_is_wrong_or_older_than_promised_whatever_happens_to_caches_and_listeners(scene, say):
    callers, writers, faults, logs = scene
    work = [callers.read] * 4 + [writers.post_and_ask, writers.take_long, writers.post_to_all]
    begun = time.monotonic()
    with callers.at_work(*work):
        while True:
            for fault in faults.each():
                callers.phase = fault.__name__.replace("_", " ")
                fault()
            if time.monotonic() - begun >= SOAK_S:
                break
    lasted = time.monotonic() - begun
    told = [reply for reply in callers.replies if reply.status == 200]
    wrong = callers.faults()
    say(f"{len(told)} replies in {lasted:.0f} s of faults held against {callers.books.events} events: "
        f"{len(wrong)} wrong or older than promised")  # fmt: skip
    longest = max(reply.took for reply in callers.replies)
    say(f"    the longest request took {longest:.2f} s")
    for phase, replies in Counter(reply.phase for reply in told).items():
        say(f"    {replies} while {phase}")
    assert wrong == [], f"{len(wrong)} of {len(told)}: " + "\n".join(random.sample(wrong, min(len(wrong), 20)))
    assert callers.refusals() == {}
    assert longest < HELD_UP_S  # Postgres answers all the time, so there is nothing to wait for
    assert len(told) > 1000
    for log in logs:
        assert "Traceback" not in log()

"""A primary and its replica under load, with two services and two caches: the replica lags, it goes away and a cache
with it, and it takes over without the last commits.
"""

import os
import random
import re
import signal
import time
from contextlib import closing
from datetime import date

import psycopg2
import pytest

from native import day_number
from service.cache import TimelineLru
from service.errors import DatabaseUnavailable
from service.ledger.freshness import Freshness
from service.ledger.repository import PostgresLedger
from service.ledger.timeline_lookup import TimelineLookup
from service.postgres.connect import CLUSTER_ID, connect
from service.postgres.pool import ConnectionPool
from tests.fakes.memcached import memcached, needs_memcached
from tests.fakes.replica import primary_of_its_own, reaching, replica_of
from tests.models.shadow_ledger import FAR_AHEAD, Books
from tests.support.load_clients import Callers, LedgerWriter, any_event
from tests.support.processes import serving

MAX_STALENESS_S = 2.0
LOANS = range(1, 31)
LOST = range(101, 106)  # the loans whose last event is lost with the primary
READ_BY = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'loaner reader' AND query LIKE '%timeline%'"
DAY = day_number(date.fromisoformat(FAR_AHEAD))
SETTLED_S = 3.0  # after a failover


@pytest.fixture
def scene(keys_dir, bearer):
    """Two services over a primary, its replica and a ring of two memcacheds; callers; and who may post."""
    with (
        primary_of_its_own() as primary,
        replica_of(primary) as replica,
        memcached() as cache,
        memcached() as other,
    ):
        settings = reaching(primary, replica)
        books = Books(MAX_STALENESS_S)
        with closing(connect(settings, "posting")) as connection:
            books.create(connection, [*LOANS, *LOST])
        replica.catch_up()
        place = {
            "MAX_STALENESS_S": str(MAX_STALENESS_S), "PSQL_CONNECT_TIMEOUT_S": "1", "PSQL_STATEMENT_TIMEOUT_S": "1",
            "CACHE_BYTES": "40000", "MEMCACHED_SERVERS": f"{cache.address}, {other.address}",
            "CACHE_SECRET": "a secret of the cache's",
        }  # fmt: skip
        with serving(settings, keys_dir, **place) as one, serving(settings, keys_dir, **place) as two:
            origins, told = zip(one, two, strict=True)
            callers = Callers(books, list(origins), bearer, lambda: random.choice(random.choice((LOANS, LOST))))
            yield primary, replica, other, settings, callers, told


def _post_to_each(books, connection):
    """An event to each of those loans. Returns: their new versions."""
    versions: dict[int, int] = {}
    for loan in LOST:
        with books.posting(connection, [any_event(loan)]) as made:
            versions |= made
    return versions


def posting(books, settings):
    """Who posts to the other loans."""
    return closing(LedgerWriter(books, settings, lambda: [any_event(random.choice(LOANS))]))


@needs_memcached
def test_replicas_lag_and_go_and_take_over_and_no_reply_is_wrong(scene, say):
    primary, replica, cache, settings, callers, told = scene
    books = callers.books
    with callers.at_work(*[callers.read] * 3):
        with posting(books, settings) as poster, callers.at_work(poster.post):
            time.sleep(1.5)
            assert replica.ask(READ_BY) > 0
            callers.phase = "the replica lags"
            replica.pause()
            time.sleep(MAX_STALENESS_S + 0.7)
            replica.resume()
            callers.phase = "the replica is away"
            replica.stop("immediate")
            cache.stop()
            time.sleep(1)
            cache.start()
            replica.start_again()
            time.sleep(1)
            replica.catch_up()

        callers.phase = "commits that will be lost"
        replica.detach()
        with closing(connect(settings, "posting")) as connection:
            lost = _post_to_each(books, connection)
        time.sleep(1)  # they are read, and cached

        callers.phase = "there is no primary"
        primary.stop("immediate")
        time.sleep(MAX_STALENESS_S + 0.5)  # nothing that is cached counts any more
        later = books.without(lost)
        promoted = time.monotonic()
        replica.promote()
        with closing(connect(reaching(replica), "posting")) as connection:
            again = _post_to_each(later, connection)
        after = time.monotonic()
        callers.phase = "after the failover"
        with posting(later, settings) as poster, callers.at_work(poster.post):
            time.sleep(SETTLED_S)
            callers.phase = "in the end"
            time.sleep(1)
    logs = [each() for each in told]

    assert again == lost  # the same versions of the same loans
    first = [reply for reply in callers.replies if reply.asked + reply.took < promoted]
    then = [reply for reply in callers.replies if reply.asked > after]
    wrong = [*callers.broken, *books.faults(first), *later.faults(then)]
    assert wrong == [], f"{len(wrong)}: " + "\n".join(wrong[:20])
    assert {phase for phase, _ in callers.refusals()} <= {"there is no primary", "after the failover"}
    assert {status for _, status in callers.refusals()} <= {503}
    assert not any("Traceback" in log for log in logs)
    refused = [reply.asked for reply in then if reply.status == 503]
    say(f"{len(callers.replies)} replies over a replica that lags, goes and takes over: none wrong; after it did, the")
    say(f"    last of {len(refused)} 503 was asked for {max(refused, default=after) - after:.2f} s later")


def test_a_version_that_was_lost_is_not_taken_for_another_one_of_the_same_number():
    """The new primary is asked before anybody has heard that it is another one."""
    with primary_of_its_own() as primary, replica_of(primary) as replica:
        settings, books, freshness = reaching(primary, replica), Books(0.1), Freshness(0.1)
        with closing(ConnectionPool(settings, want="primary")) as database:
            timelines = TimelineLookup(PostgresLedger(database), freshness, (TimelineLru(1_000_000),))
            with closing(connect(settings, "posting")) as connection:
                books.create(connection, LOST)
                replica.catch_up()
                replica.detach()
                freshness.listening(str(primary.ask(f"SELECT {CLUSTER_ID}")), 1, freshness.now())
                lost = _post_to_each(books, connection)
                before = {loan: timelines.get(loan).timeline.balance_at(DAY) for loan in LOST}
            primary.stop("immediate")
            replica.promote()
            with closing(connect(settings, "posting")) as connection:
                assert _post_to_each(books.without(lost), connection) == lost
            database.recycle()
            after = {loan: timelines.get(loan).timeline.balance_at(DAY) for loan in LOST}
            read = PostgresLedger(database).timelines(LOST)
            right = {loan: read[loan].balance_at(DAY) for loan in LOST}
    assert after == right
    assert all(after[loan] != before[loan] for loan in LOST)


def test_a_replica_that_has_gone_another_way_is_not_believed_and_one_that_follows_is():
    """The old primary comes back as a replica, with commits that the new one never had, and cannot follow it."""
    with primary_of_its_own() as primary, replica_of(primary) as promoted, replica_of(primary) as follower:
        books, freshness = Books(2.0), Freshness(2.0)
        with closing(connect(reaching(primary), "posting")) as connection:
            books.create(connection, LOST)
            for replica in (promoted, follower):
                replica.catch_up()
                replica.detach()
            for _ in range(5):
                _post_to_each(books, connection)
        primary.stop("immediate")
        promoted.promote()
        follower.follow(promoted)
        primary.come_back_as_replica_of(promoted)

        def found_by(*servers):
            settings = reaching(promoted, *servers)
            with closing(ConnectionPool(settings, want="replica")) as database:
                timelines = TimelineLookup(Unasked(), freshness, replica=PostgresLedger(database, strict=True))
                return [timelines.get(loan).timeline.version for loan in LOST]

        freshness.listening(str(promoted.ask(f"SELECT {CLUSTER_ID}")), 1, freshness.now())
        with pytest.raises(AskedThePrimary):
            found_by(primary)
        follower.ask("CHECKPOINT")  # what it has replayed is noted
        freshness.heard(freshness.now())
        assert found_by(follower) == [0] * len(LOST)


class AskedThePrimary(Exception):
    """Nobody else was believed."""


class Unasked:
    def timelines(self, loan_ids, cached=None, cluster=None):
        raise AskedThePrimary


def test_a_crash_begins_another_cluster_and_a_restart_does_not():
    """Numbers of transactions that were not written down are given again after a crash."""
    with primary_of_its_own() as primary:
        names = [primary.ask(f"SELECT {CLUSTER_ID}")]
        primary.stop()
        primary.start_again()
        names.append(primary.ask(f"SELECT {CLUSTER_ID}"))
        primary.stop("immediate")
        primary.start_again()
        names.append(primary.ask(f"SELECT {CLUSTER_ID}"))
        backend = primary.ask("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
        os.kill(backend, signal.SIGKILL)  # all sessions end, and the server recovers without being started anew
        names.append(_once_it_answers(primary, f"SELECT {CLUSTER_ID}"))
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"\d+\.\d+\.0000000[12]\.\d+\.\d+", name) for name in names)


def _once_it_answers(server, query):
    deadline = time.monotonic() + 20
    while True:
        try:
            time.sleep(0.1)
            return server.ask(query)
        except psycopg2.OperationalError:
            assert time.monotonic() < deadline


def test_a_replica_alone_is_not_taken_for_the_primary():
    with (
        primary_of_its_own() as primary,
        replica_of(primary) as replica,
        closing(ConnectionPool(reaching(replica))) as database,
        pytest.raises(DatabaseUnavailable, match="is a replica"),
    ):
        database.row("SELECT 1")

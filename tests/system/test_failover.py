"""A primary and its replica under load, with two services and two caches.

The replica lags, stops together with a cache, and is promoted without the primary's last commits.
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
from service.postgres.connect import connect
from service.postgres.pool import ConnectionPool
from service.postgres.server_identity import CLUSTER_ID
from tests.fakes.memcached import memcached, needs_memcached
from tests.fakes.replica import primary_of_its_own, reaching, replica_of
from tests.models.shadow_ledger import FAR_AHEAD, ShadowLedger
from tests.support.load_clients import LoadClients, Poster, any_event
from tests.support.processes import serving
from tests.support.waiting import PATIENCE_S

MAX_STALENESS_S = 2.0
LOANS = range(1, 31)
LOST = range(101, 106)  # the loans whose last event is lost with the primary
READ_BY = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'loaner reader' AND query LIKE '%timeline%'"
DAY = day_number(date.fromisoformat(FAR_AHEAD))
SETTLED_S = 3.0  # after a failover


@pytest.fixture
def scene(keys_dir, bearer):
    """Two services over a primary, its replica and two memcached servers, with callers."""
    with (
        primary_of_its_own() as primary,
        replica_of(primary) as replica,
        memcached() as cache,
        memcached() as other,
    ):
        settings = reaching(primary, replica)
        books = ShadowLedger(MAX_STALENESS_S)
        with closing(connect(settings, "posting")) as connection:
            books.create(connection, [*LOANS, *LOST])
        replica.catch_up()
        place = {
            "MAX_STALENESS_S": str(MAX_STALENESS_S), "PSQL_CONNECT_TIMEOUT_S": "1", "PSQL_STATEMENT_TIMEOUT_S": "1",
            "CACHE_BYTES": "40000", "MEMCACHED_SERVERS": f"{cache.address}, {other.address}",
            "CACHE_SECRET": "a secret of the cache's",
        }  # fmt: skip
        with serving(settings, keys_dir, **place) as one, serving(settings, keys_dir, **place) as two:
            origins, read_logs = zip(one, two, strict=True)
            callers = LoadClients(books, list(origins), bearer, lambda: random.choice(random.choice((LOANS, LOST))))
            yield primary, replica, other, settings, callers, read_logs


def _post_to_each(books, connection):
    """Post an event to each loan of LOST. Return their new versions."""
    versions: dict[int, int] = {}
    for loan in LOST:
        with books.posting(connection, [any_event(loan)]) as made:
            versions |= made
    return versions


def posting(books, settings):
    """A writer that posts to the other loans."""
    return closing(Poster(books, settings, lambda: [any_event(random.choice(LOANS))]))


@needs_memcached
def test_no_reply_is_wrong_while_a_replica_lags_stops_and_is_promoted(scene, report_measurement):
    primary, replica, cache, settings, callers, read_logs = scene
    books = callers.books
    with callers.at_work(*[callers.read] * 3):
        with posting(books, settings) as poster, callers.at_work(poster.post):
            time.sleep(1.5)
            assert replica.ask(READ_BY) > 0
            callers.phase = "the replica lags"
            replica.pause()
            time.sleep(MAX_STALENESS_S + 0.7)
            replica.resume()
            callers.phase = "the replica is stopped"
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
        time.sleep(1)  # services read and cache them

        callers.phase = "without a primary"
        primary.stop("immediate")
        time.sleep(MAX_STALENESS_S + 0.5)  # cached timelines are too old by now
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
    logs = [read_log() for read_log in read_logs]

    assert again == lost  # the same versions of the same loans
    first = [reply for reply in callers.replies if reply.asked + reply.took < promoted]
    then = [reply for reply in callers.replies if reply.asked > after]
    wrong = [*callers.broken, *books.faults(first), *later.faults(then)]
    assert wrong == [], f"{len(wrong)}: " + "\n".join(wrong[:20])
    assert {phase for phase, _ in callers.refusals()} <= {"without a primary", "after the failover"}
    assert {status for _, status in callers.refusals()} <= {503}
    assert not any("Traceback" in log for log in logs)
    refused = [reply.asked for reply in then if reply.status == 503]
    report_measurement(f"replica lags, stops and is promoted: {len(callers.replies)} replies, none wrong")
    last_s = max(refused, default=after) - after
    report_measurement(
        f"    after the promotion: {len(refused)} replies with 503, the last one requested after {last_s:.2f} s"
    )


def test_a_lost_version_is_not_mistaken_for_a_new_one_of_the_same_number():
    """The new primary is read before the listener has noticed the failover."""
    with primary_of_its_own() as primary, replica_of(primary) as replica:
        settings, books, freshness = reaching(primary, replica), ShadowLedger(0.1), Freshness(0.1)
        with closing(ConnectionPool(settings, target_role="primary")) as database:
            timelines = TimelineLookup(PostgresLedger(database), freshness, (TimelineLru(1_000_000),))
            with closing(connect(settings, "posting")) as connection:
                books.create(connection, LOST)
                replica.catch_up()
                replica.detach()
                freshness.on_listen(str(primary.ask(f"SELECT {CLUSTER_ID}")), 1, freshness.now())
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


def test_a_diverged_replica_is_not_trusted_and_a_following_one_is():
    """The old primary returns as a replica with commits that the new one lacks, so it cannot follow."""
    with primary_of_its_own() as primary, replica_of(primary) as promoted, replica_of(primary) as follower:
        books, freshness = ShadowLedger(2.0), Freshness(2.0)
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

        def read_versions(*servers):
            settings = reaching(promoted, *servers)
            with closing(ConnectionPool(settings, target_role="replica")) as database:
                timelines = TimelineLookup(FailingPrimary(), freshness, replica=PostgresLedger(database, strict=True))
                return [timelines.get(loan).timeline.version for loan in LOST]

        freshness.on_listen(str(promoted.ask(f"SELECT {CLUSTER_ID}")), 1, freshness.now())
        with pytest.raises(PrimaryWasRead):
            read_versions(primary)
        follower.ask("CHECKPOINT")  # records the timeline that was replayed
        freshness.on_heartbeat(freshness.now())
        assert read_versions(follower) == [0] * len(LOST)


class PrimaryWasRead(Exception):
    """No replica was trusted."""


class FailingPrimary:
    def timelines(self, loan_ids, cached=None, cluster=None):
        raise PrimaryWasRead


def test_a_crash_changes_the_cluster_id_and_a_restart_does_not():
    """After a crash, Postgres assigns unwritten transaction ids again."""
    with primary_of_its_own() as primary:
        names = [primary.ask(f"SELECT {CLUSTER_ID}")]
        primary.stop()
        primary.start_again()
        names.append(primary.ask(f"SELECT {CLUSTER_ID}"))
        primary.stop("immediate")
        primary.start_again()
        names.append(primary.ask(f"SELECT {CLUSTER_ID}"))
        backend = primary.ask("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
        os.kill(backend, signal.SIGKILL)  # ends all sessions; the server recovers without a restart
        names.append(_wait_for_answer(primary, f"SELECT {CLUSTER_ID}"))
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"\d+\.\d+\.0000000[12]\.\d+\.\d+", name) for name in names)


def _wait_for_answer(server, query):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            time.sleep(0.1)
            return server.ask(query)
        except psycopg2.OperationalError:
            assert time.monotonic() < deadline


def test_a_replica_alone_is_not_mistaken_for_the_primary():
    with (
        primary_of_its_own() as primary,
        replica_of(primary) as replica,
        closing(ConnectionPool(reaching(replica))) as database,
        pytest.raises(DatabaseUnavailable, match="is a replica"),
    ):
        database.row("SELECT 1")

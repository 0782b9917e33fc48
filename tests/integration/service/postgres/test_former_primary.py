"""A replica is promoted while its primary keeps running, and connections to the primary stay open."""

import threading
import time
from contextlib import closing

import psycopg2
import pytest

from service.errors import DatabaseUnavailable, OutcomeUnknown
from service.ledger.change_listener import ChangeListener
from service.ledger.freshness import Freshness
from service.ledger.repository import PostgresLedger
from service.postgres.connect import connect, survey
from service.postgres.connector import Connector
from service.postgres.host_watch import HostWatch
from service.postgres.pool import ConnectionPool
from service.postgres.server_identity import CLUSTER_ID
from service.postgres.wal_timelines import WalTimelines
from tests.fakes.replica import primary_of_its_own, reaching, replica_of
from tests.support.waiting import wait_until

PORT = "SELECT current_setting('port')::int"
SLOW = "SELECT pg_sleep(1.5)"


@pytest.fixture
def servers():
    """A primary and its replica, which a test promotes."""
    with primary_of_its_own() as primary, replica_of(primary) as replica:
        yield primary, replica


@pytest.fixture(params=["former primary first", "promoted server first"])
def settings(servers, request):
    """Settings that name both servers, in each order."""
    primary, replica = servers
    return reaching(*(servers if request.param == "former primary first" else (replica, primary)))


def test_open_connections_to_a_former_primary_are_replaced(servers, settings, caplog):
    primary, replica = servers
    timelines, freshness = WalTimelines(), Freshness(60)
    pools = [ConnectionPool(settings, role=role, timelines=timelines) for role in ("reader", "posting")]
    listener = ChangeListener(freshness, Connector(settings, timelines=timelines), pools)
    watch = HostWatch(settings, timelines)
    listener.start()
    try:
        assert [pool.row(PORT) for pool in pools] == [(primary.port,)] * 2
        wait_until(lambda: freshness.cluster is not None)
        replica.promote()
        watch.start()
        assert [pool.row(PORT) for pool in pools] == [(replica.port,)] * 2
        promoted = replica.ask(f"SELECT {CLUSTER_ID}")
        wait_until(lambda: freshness.cluster == promoted)
    finally:
        listener.stop()
        watch.stop()
        for pool in pools:
            pool.close()
    sentence = (
        f"127.0.0.1:{primary.port} is a former primary: it writes WAL timeline 1, "
        f"but WAL timeline 2 was seen at 127.0.0.1:{replica.port}"
    )
    assert timelines.former_primaries() == [sentence]
    assert f"split brain: {sentence}" in caplog.text


def test_what_a_former_primary_does_during_the_discovery_is_not_reported_as_done(servers, settings):
    _, replica = servers
    timelines = WalTimelines()
    outcomes = {}

    def run(name, pool, query):
        try:
            outcomes[name] = pool.row(query)
        except (DatabaseUnavailable, psycopg2.errors.DivisionByZero) as err:
            outcomes[name] = err

    reader = ConnectionPool(settings, timelines=timelines)
    poster = ConnectionPool(settings, role="posting", timelines=timelines)
    work = [
        ("reader", reader, f"SELECT {PORT.removeprefix('SELECT ')} FROM (SELECT pg_sleep(1.5) OFFSET 0) AS slow"),
        ("poster", poster, SLOW),
        ("failing poster", poster, f"SELECT 1 / (row_number() OVER () - 1) FROM ({SLOW}) AS slow"),
    ]
    threads = [threading.Thread(target=run, args=one) for one in work]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    replica.promote()
    survey(settings, "reader", timelines)
    for thread in threads:
        thread.join()
    for pool in (reader, poster):
        pool.close()
    assert outcomes["reader"] == (replica.port,)  # repeated there
    assert isinstance(outcomes["poster"], OutcomeUnknown)
    assert "another server was promoted" in str(outcomes["poster"])
    assert isinstance(outcomes["failing poster"], psycopg2.errors.DivisionByZero)  # repeated there as well


def test_commands_find_the_promoted_server_while_the_former_primary_runs(servers, settings):
    _, replica = servers
    replica.promote()
    for role in ("reader", "posting", "admin"):
        with closing(connect(settings, role)) as connection:
            assert connection.info.port == replica.port


def test_a_replica_that_was_promoted_is_not_read_as_a_replica_of_its_former_primary(servers):
    primary, replica = servers
    settings = reaching(primary, replica)
    cluster = str(primary.ask(f"SELECT {CLUSTER_ID}"))
    primary.ask("SELECT create_loans('{1}', '{2020-01-01}', '{100}', '{USD}')")
    replica.catch_up()
    with closing(ConnectionPool(settings, target_role="replica")) as database:
        ledger = PostgresLedger(database, strict=True)
        assert list(ledger.timelines([1], cluster=cluster)) == [1]
        replica.promote()
        with pytest.raises(DatabaseUnavailable, match="another cluster"):
            ledger.timelines([1], cluster=cluster)


def test_only_a_former_primary_is_left(servers, settings):
    _, replica = servers
    timelines = WalTimelines()
    replica.promote()
    survey(settings, "reader", timelines)
    replica.stop()
    with closing(ConnectionPool(settings, timelines=timelines)) as database:
        with pytest.raises(
            DatabaseUnavailable, match="is a former primary: it writes WAL timeline 1, but WAL timeline 2"
        ):
            database.row(PORT)
        replica.start_again()
        wait_until(lambda: _port_of(database) == replica.port)


def test_a_start_names_the_servers_that_did_not_respond(servers, settings, caplog):
    """The limit: what an unreachable server is cannot be known, so the former primary is used."""
    primary, replica = servers
    replica.promote()
    replica.stop()
    timelines = WalTimelines()
    watch = HostWatch(settings, timelines)
    watch.start()
    watch.stop()
    assert f"a server in PSQL_HOST is not used: 127.0.0.1:{replica.port}: Connection refused" in caplog.text
    with closing(ConnectionPool(settings, timelines=timelines)) as database:
        assert database.row(PORT) == (primary.port,)


def _port_of(database):
    try:
        return database.row(PORT)[0]
    except DatabaseUnavailable:
        return None

"""With several Postgres servers, the right one is found in bounded time, despite failures of the others."""

import socket
import time
from contextlib import closing, contextmanager

import psycopg2
import pytest
from pydantic import SecretStr

from service.errors import CredentialsRefused, DatabaseUnavailable
from service.postgres.connect import connect
from service.postgres.find_server import connect_with_timeout
from service.postgres.pool import ConnectionPool
from tests.fakes.replica import primary_of_its_own, reaching, replica_of
from tests.support.waiting import PATIENCE_S

IN_RECOVERY = "SELECT pg_is_in_recovery()"
BOUND_S = 2.5  # two hosts share 3 s; a stopped one refuses connections immediately


@pytest.fixture(scope="module")
def own_primary():
    with primary_of_its_own() as server:
        yield server


@pytest.fixture
def primary(own_primary):
    """A primary that a test may stop."""
    own_primary.start_again()
    yield own_primary
    own_primary.start_again()


@pytest.fixture(scope="module")
def own_replica(own_primary):
    with replica_of(own_primary) as server:
        yield server


@pytest.fixture
def replica(primary, own_replica):
    """A replica that a test may stop or hold back, but not promote."""
    own_replica.start_again()
    own_replica.resume()
    own_replica.catch_up()
    return own_replica


@contextmanager
def pooled(settings, **options):
    database = ConnectionPool(settings, **options)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def silent_host():
    """A host that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def seconds_below(bound):
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < bound


def wait_for_row(database, sql, seconds=PATIENCE_S):
    """Return the row as soon as the pool finds a server."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return database.row(sql)
        except DatabaseUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def port_of(settings, target_role):
    """Return the port of the server that a connection finds."""
    with closing(connect_with_timeout(settings, target_role)) as connection:
        return connection.info.port


def test_the_server_of_the_right_role_is_found_at_any_position(primary, replica):
    for servers in ((primary, replica), (replica, primary)):
        settings = reaching(*servers)
        for role in ("posting", "admin", "reader"):
            with closing(connect(settings, role)) as connection:
                assert connection.info.port == primary.port
        assert port_of(settings, "primary") == primary.port
        assert port_of(settings, "replica") == replica.port


def test_without_the_right_server_the_error_names_each_host_and_its_failure(primary, replica):
    only_replica = reaching(replica).replace(hosts=f"127.0.0.1:1, 127.0.0.1:{replica.port}")
    message = (
        rf"no Postgres primary found: 127\.0\.0\.1:1: Connection refused; 127\.0\.0\.1:{replica.port} is a replica$"
    )
    for role in ("posting", "admin"):
        with pytest.raises(DatabaseUnavailable, match=message):
            connect(only_replica, role)
    with pytest.raises(DatabaseUnavailable, match=message):
        connect_with_timeout(only_replica, "primary")
    with pytest.raises(
        DatabaseUnavailable, match=rf"no Postgres replica found: 127\.0\.0\.1:{primary.port} is the pri"
    ):
        connect_with_timeout(reaching(primary), "replica")


def test_a_stopped_replica_is_noticed_and_found_again_after_its_restart(primary, replica):
    settings = reaching(primary, replica)
    with pooled(settings, target_role="replica") as database, pooled(settings, target_role="primary") as main:
        assert database.row(IN_RECOVERY) == (True,)
        replica.stop("immediate")
        with seconds_below(BOUND_S), pytest.raises(DatabaseUnavailable, match=f"{primary.port} is the primary"):
            database.row(IN_RECOVERY)
        assert main.row(IN_RECOVERY) == (False,)
        replica.start_again()
        assert wait_for_row(database, IN_RECOVERY) == (True,)


def test_one_of_two_replicas_may_stop(primary, replica):
    with (
        replica_of(primary) as other,
        pooled(reaching(primary, replica, other), target_role="replica") as database,
    ):
        assert database.row(IN_RECOVERY) == (True,)
        for stopped, left in ((replica, other), (other, replica)):
            stopped.stop("immediate")
            assert wait_for_row(database, "SHOW port") == (str(left.port),)
            stopped.start_again()


def test_a_new_primary_is_found_after_a_failover(primary):
    with (
        replica_of(primary) as replica,
        pooled(settings := reaching(primary, replica), target_role="primary") as database,
    ):
        assert database.row(IN_RECOVERY) == (False,)
        primary.stop("immediate")
        with seconds_below(BOUND_S), pytest.raises(DatabaseUnavailable, match=f"{replica.port} is a replica"):
            database.row(IN_RECOVERY)
        replica.promote()
        assert wait_for_row(database, IN_RECOVERY) == (False,)
        with closing(connect(settings, "posting")) as connection:
            assert connection.info.port == replica.port


def test_a_replica_can_be_held_back(primary, replica):
    primary.ask("CREATE TABLE held ()")
    replica.catch_up()
    replica.pause()
    primary.ask("DROP TABLE held")
    assert replica.ask("SELECT to_regclass('held')") == "held"
    replica.resume()
    replica.catch_up()
    assert replica.ask("SELECT to_regclass('held')") is None


def test_an_unresponsive_host_delays_one_connection_by_its_share_of_the_timeout(primary, report_measurement):
    with silent_host() as silent:
        several = reaching(primary).replace(hosts=f"{silent}, 127.0.0.1:{primary.port}", connect_timeout_s=2)
        with pooled(several, target_role="primary") as database:
            begun = time.monotonic()
            assert database.row("SELECT 1") == (1,)
            taken = time.monotonic() - begun
            assert 0.9 < taken < 1.8
            report_measurement(f"an unresponsive host delayed the first connection by {taken:.2f} s (its share is 1 s)")
            with seconds_below(0.5), database._connections.take(), database._connections.take():
                pass


def test_connecting_fails_in_bounded_time_if_no_host_responds(primary):
    with silent_host() as one, silent_host() as other:
        several = reaching(primary).replace(hosts=f"{one}, {other}", connect_timeout_s=2)
        with seconds_below(3), pytest.raises(DatabaseUnavailable, match=f"{one}: no response; {other}: no response"):
            connect_with_timeout(several)


def test_credentials_are_rejected_only_if_no_server_accepts_them(primary, replica):
    replica.pause()
    primary.ask("DROP ROLE IF EXISTS newcomer")
    primary.ask("CREATE ROLE newcomer LOGIN PASSWORD 'x' IN ROLE loaner_reader")
    newcomer = reaching(replica, primary).replace(user="newcomer", password=SecretStr("x"))
    assert port_of(newcomer, "primary") == primary.port
    with pytest.raises(DatabaseUnavailable, match="authentication failed") as caught:
        connect_with_timeout(newcomer, "replica")
    assert not isinstance(caught.value, CredentialsRefused)
    with pytest.raises(CredentialsRefused, match="authentication failed"):
        connect_with_timeout(newcomer.replace(password=SecretStr("wrong")))


def test_a_reader_cannot_write_on_any_server(primary, replica):
    for target_role in ("primary", "replica"):
        with (
            pooled(reaching(primary, replica), target_role=target_role) as database,
            pytest.raises(psycopg2.errors.ReadOnlySqlTransaction),
        ):
            database.row("CREATE TEMPORARY TABLE t ()")

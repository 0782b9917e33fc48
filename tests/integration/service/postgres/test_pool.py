"""The pool: failures leak no connection, connections have a maximum age, and an exhausted pool fails fast."""

import threading
import time
from contextlib import closing
from types import SimpleNamespace

import psycopg2
import pytest
import sqlalchemy.pool.base

from service.errors import DatabaseUnavailable
from service.postgres.connect import connect
from service.postgres.connections import RECYCLE_S
from service.postgres.pool import ConnectionPool
from service.postgres.prepared import Prepared
from service.settings import PoolSettings
from tests.conftest import sql
from tests.support.application import build_app
from tests.support.settings import with_changes
from tests.support.waiting import wait_until

PROCESS = "SELECT pg_backend_pid()"
READERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"


@pytest.fixture
def single(settings):
    """A pool of one connection, so a leak exhausts it."""
    database = ConnectionPool(settings, pool=PoolSettings(size=1, wait_s=0.2, timeout_s=0.1))
    yield database
    database.close()


def test_a_connection_is_replaced_after_half_an_hour(single, admin, monkeypatch):
    passed = [0.0]
    clock = SimpleNamespace(time=lambda: time.time() + passed[0])
    monkeypatch.setattr(sqlalchemy.pool.base, "time", clock)
    first = single.row(PROCESS)
    passed[0] = RECYCLE_S - 60
    assert single.row(PROCESS) == first
    passed[0] = RECYCLE_S + 1
    second = single.row(PROCESS)
    assert second != first
    passed[0] += RECYCLE_S - 60
    assert single.row(PROCESS) == second
    wait_until(lambda: sql(admin, READERS, "loaner reader") == [(1,)])  # the old one is closed


def test_failures_leak_no_connection(single, admin):
    def terminate():
        sql(admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'loaner reader'")
        assert single.row("SELECT 1") == (1,)

    def fail_in_use():
        with pytest.raises(ZeroDivisionError), single._connections.take():
            raise ZeroDivisionError

    def fail(error, query):
        with pytest.raises(error):
            single.row(query, (1,))

    for _ in range(5):
        terminate()
        fail_in_use()
        fail(psycopg2.errors.DivisionByZero, "SELECT 1 / 0")
        fail(psycopg2.errors.SyntaxError, "SELEC")
        fail(psycopg2.errors.ReadOnlySqlTransaction, "CREATE TABLE t ()")
        fail(DatabaseUnavailable, "SELECT pg_sleep(5)")
        fail(DatabaseUnavailable, "SELECT * FROM loaded_files")
        assert single.row("SELECT 1") == (1,)
        assert single._connections._pool.checkedout() == 0
    assert sql(admin, READERS, "loaner reader") == [(1,)]


def test_an_exhausted_pool_is_503_within_a_second_and_leaks_no_connection(served, bearer):
    size = 2
    application = build_app(with_changes(served, threads=size + 3, psql_pool_size=size, psql_pool_timeout_s=0.5))
    replies = []

    def request(loan):  # a different loan each, because concurrent requests for one loan share a read
        begun = time.monotonic()
        reply = application.test_client().get(f"/{loan}/2020-02-29", headers=bearer)
        replies.append((reply.status_code, reply.headers.get("Retry-After"), time.monotonic() - begun))

    with closing(connect(served.postgres, "admin")) as owner:
        with owner.cursor() as cursor:
            cursor.execute("LOCK TABLE loans, loan_events")
        threads = [threading.Thread(target=request, args=(loan,)) for loan in range(1, size + 4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(replies) >= 3)
        assert [(status, after) for status, after, _ in replies] == [(503, "1")] * 3
        assert max(taken for _, _, taken in replies) < 1
        owner.rollback()
        for thread in threads:
            thread.join()
    assert {status for status, _, _ in replies[3:]} <= {200, 404}
    for _ in range(3 * size):
        request(1)
        assert replies[-1][0] == 200


NEXT = Prepared("next", ("bigint",), "SELECT $1 + 1")


def test_a_query_is_prepared_again_after_the_session_lost_it(single):
    assert single.row(NEXT, (0,)) == (1,)
    with single._connections.take() as pooled, pooled.dbapi_connection.cursor() as cursor:
        single._execute(cursor, "DEALLOCATE ALL")
    assert single.row(NEXT, (0,)) == (1,)
    assert single.row(NEXT, (1,)) == (2,)


def test_a_query_is_prepared_again_after_its_tables_changed(single, admin):
    query = Prepared("changing", ("bigint",), "SELECT * FROM changing WHERE $1 > 0")
    sql(admin, "CREATE TABLE changing AS SELECT 1::int AS number")
    sql(admin, "GRANT SELECT ON changing TO loaner_reader")
    assert single.row(query, (1,)) == (1,)
    sql(admin, "ALTER TABLE changing ALTER number TYPE text")
    assert single.row(query, (1,)) == ("1",)

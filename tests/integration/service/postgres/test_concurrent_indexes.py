"""`migrate` builds indexes without blocking postings, and finishes an interrupted build."""

from contextlib import closing
from threading import Thread

import psycopg2
import pytest

from service.ledger.loan_search import LoanFilter, LoanSearch, build_query
from service.postgres import concurrent_indexes
from service.postgres.concurrent_indexes import build_indexes
from service.postgres.connect import connect
from service.postgres.migrate import migrate
from service.postgres.pool import ConnectionPool
from tests.conftest import load_ledger, sql
from tests.integration.service.web.test_find_loans import DAY
from tests.support.waiting import wait_until

NAME = "loan_events_by_source"
POST = "SELECT post_events(ARRAY[%s], ARRAY['fee'], ARRAY['2020-06-02'::date], ARRAY[1], ARRAY[%s])"
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"


@pytest.fixture
def ledger(posting, tmp_path):
    load_ledger(posting, tmp_path)


def drop(admin) -> None:
    sql(admin, f"DROP INDEX {NAME}")


def test_a_new_database_has_the_index(admin):
    assert sql(admin, VALID, NAME) == [(True,)]


@pytest.mark.usefixtures("ledger")
def test_postings_continue_during_the_build(settings, posting, admin):
    drop(admin)
    building = Thread(target=build_indexes, args=(settings,))
    with closing(connect(settings, "posting")) as other, other, other.cursor() as cursor:
        cursor.execute(POST, (1, "open"))  # the build waits for this transaction
        building.start()
        wait_until(lambda: sql(admin, VALID, NAME) == [(False,)])
        sql(posting, POST, 2, "posted")
        assert building.is_alive()
    building.join(20)
    assert not building.is_alive()
    assert sql(admin, VALID, NAME) == [(True,)]


@pytest.mark.usefixtures("ledger")
def test_an_interrupted_build_is_repeated(settings, admin):
    drop(admin)
    with closing(connect(settings, "posting")) as other, closing(connect(settings, "admin")) as builder:
        builder.autocommit = True
        with other, other.cursor() as cursor, builder.cursor() as build:
            cursor.execute(POST, (1, "open"))
            build.execute("SET statement_timeout = '300ms'")
            with pytest.raises(psycopg2.errors.QueryCanceled):
                build.execute(f"CREATE INDEX CONCURRENTLY {NAME} ON loan_events (source_id, loan_id)"
                              " WHERE source_id IS NOT NULL")  # fmt: skip
    assert sql(admin, VALID, NAME) == [(False,)]
    migrate(settings)
    assert sql(admin, VALID, NAME) == [(True,)]


def test_partitions_get_the_index(settings, admin):
    drop(admin)
    migrate(settings, 3)
    assert sql(admin, VALID, NAME) == [(True,)]
    parts = sql(admin, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", NAME)
    assert sorted(parts) == [(f"loan_events_p{n}_by_source",) for n in range(3)]
    drop(admin)
    migrate(settings)  # they were partitioned before
    assert sql(admin, VALID, NAME) == [(True,)]


@pytest.mark.usefixtures("ledger")
def test_two_processes_build_one_after_the_other(settings, admin, monkeypatch):
    drop(admin)
    monkeypatch.setattr(concurrent_indexes, "_PAUSE", "SELECT pg_sleep(0.01)")
    builders = [Thread(target=build_indexes, args=(settings,)) for _ in range(3)]
    for each in builders:
        each.start()
    for each in builders:
        each.join(30)
    assert sql(admin, VALID, NAME) == [(True,)]


@pytest.mark.usefixtures("ledger")
def test_a_receipt_is_found_by_the_index(settings, posting, admin):
    sql(posting, "SELECT post_events(array_fill(1, ARRAY[5000]), array_fill('fee'::text, ARRAY[5000]),"
                 " array_fill('2020-06-02'::date, ARRAY[5000]), array_fill(1::numeric, ARRAY[5000]),"
                 " (SELECT array_agg('r' || n) FROM generate_series(1, 5000) AS n))")  # fmt: skip
    sql(admin, "ANALYZE loans, loan_events")
    position = LoanSearch(ConnectionPool(settings)).begin(LoanFilter(DAY, source_id="r4321"))
    query, parameters = build_query(position, 51)
    with admin, admin.cursor() as cursor:
        cursor.execute("SELECT set_config('loaner.cluster', 'x', true)")
        cursor.execute(f"EXPLAIN {query}", parameters)
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "using loan_events_by_source" in plan, plan

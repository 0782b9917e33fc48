"""A database of release 1.0.0, with rows that the present rules would refuse, keeps its answers."""

import logging
import re
from contextlib import closing, contextmanager
from datetime import date
from decimal import Decimal
from itertools import count

import pytest
from alembic import command
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from native import balance_parts, day_number
from service.ledger.repository import PostgresLedger
from service.postgres.connect import connect
from service.postgres.currencies import sync_currencies
from service.postgres.migrate import _PARTITIONS, _config, migrate
from service.postgres.pool import ConnectionPool
from service.standalone.environment import create_database, create_users, settings_of
from tests.conftest import expect_error, sql
from tests.support.agreements import post_terms

# loan_id: currency, initial amount, amounts of fees, the decimals that the loan has after the migration
LOANS = {
    1: ("USD", "1000.00", ("10.00", "0.01"), 2),
    2: ("JPY", "1000.50", (), 2),
    3: ("JPY", "1000.00", ("5.00",), 0),
    4: ("JPY", "1000.00", ("0.50",), 2),
    5: ("KWD", "1.23", ("4.56",), 3),
    6: ("KWD", "9999999999999999.99", (), 2),
    7: ("KWD", "1.00", ("1000000000000000.00",), 2),
    8: ("XAU", "3.25", ("1.00",), 2),
    9: ("XXX", "3.00", (), 2),
    10: ("ABC", "1.00", (), 2),
    11: ("CLF", "1.00", ("2.50",), 4),
    12: ("KWD", "9000000000000.00", ("900000000000000.00",) * 11, 2),
}
NUMBERS = count(1)
DAYS = [date(2019, 12, 31), date(2020, 1, 1), date(2020, 6, 1), date(2020, 8, 1), date(9999, 12, 31)]
FILENODES = """
    SELECT relname, pg_relation_filenode(oid) FROM pg_class
    WHERE relkind = 'r' AND relname ~ '^(loans|loan_events)(_p[0-9]+)?$' ORDER BY 1
"""
PARTITIONED = """
    SELECT inhparent::regclass::text, count(*) FROM pg_inherits
    WHERE inhparent::regclass::text ~ '^loan(s|_[a-z]+)$' GROUP BY 1 ORDER BY 1
"""
ROWS = """
    SELECT loan_id, tx_id, event_type, post_date, amt, version, recorded_at, source_id, reverses
    FROM loan_events ORDER BY tx_id
"""
TERMS = "SELECT loan_id, start_date, initial_amt, currency, version, turnover, recorded_at FROM loans ORDER BY 1"
POST = "SELECT post_events(ARRAY[%s], ARRAY[%s], ARRAY[%s::date], ARRAY[%s::numeric], NULL, ARRAY[%s::bigint])"


@contextmanager
def database_at(postgres, revision):
    """Settings of an empty database at a schema revision."""
    name = f"earlier_{next(NUMBERS)}"
    create_database(postgres, name)
    settings = settings_of(postgres).replace(database=name)
    engine = create_engine("postgresql+psycopg2://", creator=lambda: connect(settings, "admin"), poolclass=NullPool)
    with engine.begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    create_users(settings, postgres)
    yield settings
    with closing(connect(settings.replace(database="postgres"), "admin")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def earlier(postgres):
    """Settings of a filled database of release 1.0.0."""
    with database_at(postgres, "0003") as settings:
        with closing(connect(settings, "posting")) as posting:
            fill(posting)
        yield settings


@pytest.fixture
def previous(postgres):
    """Settings of a filled database of the release before terms and schedules."""
    with database_at(postgres, "0005") as settings:
        with closing(connect(settings, "admin")) as admin, admin, admin.cursor() as cursor:
            sync_currencies(cursor)
        with closing(connect(settings, "posting")) as posting:
            fill_previous(posting)
        yield settings


def fill(posting):
    """Post what release 1.0.0 accepted."""
    for loan_id, (currency, initial, fees, _) in LOANS.items():
        sql(posting, "SELECT create_loans(ARRAY[%s], '{2020-01-01}', ARRAY[%s::numeric], ARRAY[%s])",
            loan_id, initial, currency)  # fmt: skip
        for amt in fees:
            sql(posting, POST, loan_id, "fee", "2020-03-01", amt, None)
    sql(posting, POST, 1, "payment", "2020-07-01", "5.00", None)
    sql(posting, POST, 1, "payment", "2020-05-01", "5.00", last(posting))  # dated before what it reverses
    sql(posting, POST, 1, "fee", "9999-12-31", "7.00", None)
    sql(posting, "SELECT * FROM post_events_once('k', 'd', '2020-08-01', 3, '{fee}', '{2020-07-02}', '{2.00}',"
                 " '{mine}', NULL)")  # fmt: skip


def last(posting):
    [(tx_id,)] = sql(posting, "SELECT max(tx_id) FROM loan_events")
    return tx_id


def balances(admin):
    return {
        (loan_id, day): sql(admin, "SELECT balance_on(%s, %s)", loan_id, day)[0][0] for loan_id in LOANS for day in DAYS
    }


def test_a_migrated_database_keeps_its_rows_and_answers(earlier, caplog):
    with closing(connect(earlier, "admin")) as admin:
        before = sql(admin, ROWS), sql(admin, TERMS), sql(admin, FILENODES), balances(admin)
        with caplog.at_level(logging.WARNING, logger="service.postgres.migrate"):
            migrate(earlier)
        assert (sql(admin, ROWS), sql(admin, TERMS), sql(admin, FILENODES), balances(admin)) == before
        exponents = dict(sql(admin, "SELECT loan_id, exponent FROM loans"))
        assert exponents == {loan_id: exponent for loan_id, (*_, exponent) in LOANS.items()}
        assert sql(admin, "SELECT count(*) FROM loans WHERE posted_by IS NOT NULL") == [(0,)]
        assert sql(admin, "SELECT count(*) FROM loan_events WHERE posted_by IS NOT NULL OR memo IS NOT NULL") == [(0,)]
    database = ConnectionPool(earlier)
    timelines = PostgresLedger(database).timelines(list(LOANS))
    database.close()
    for (loan_id, day), balance in before[-1].items():
        minor_units = timelines[loan_id].balance_at(day_number(day))
        assert Decimal(minor_units).scaleb(-exponents[loan_id]) == balance, (loan_id, day)
    listed = caplog.messages
    assert sorted(int(line.split()[1]) for line in listed if "keeps 2 decimals" in line) == [2, 4, 6, 7, 8, 9, 10, 12]
    [early] = [line for line in listed if "reversal" in line]
    assert early.startswith("loan 1: reversal ")
    assert "is dated 2020-05-01, before event " in early
    assert "of 2020-07-01" in early
    caplog.clear()
    migrate(earlier)
    assert caplog.messages == []  # only once


@pytest.mark.parametrize("order", ["before", "after"])
def test_partitions_may_be_made_before_and_after_the_migration(earlier, order):
    with closing(connect(earlier, "admin")) as admin:
        before = sql(admin, ROWS), sql(admin, TERMS), balances(admin)
        if order == "before":
            partition(earlier)
            filenodes = sql(admin, FILENODES)
            assert len(filenodes) == 8
            migrate(earlier)
            assert sql(admin, FILENODES) == filenodes
            tables = ("loan_events", "loan_schedules", "loan_terms", "loans")
            assert sql(admin, PARTITIONED) == [(table, 4) for table in tables]
            migrate(earlier, 3)
        else:
            migrate(earlier)
            migrate(earlier, 4)
        assert (sql(admin, ROWS), sql(admin, TERMS), balances(admin)) == before
        assert dict(sql(admin, "SELECT loan_id, exponent FROM loans"))[5] == 3
        comments = "SELECT col_description('loan_events'::regclass, attnum) FROM pg_attribute WHERE attname = 'memo'"
        assert ("why it was posted, in words",) in sql(admin, comments)
        assert expect_error(admin, "UPDATE loans SET exponent = 1 WHERE loan_id = 1").pgcode == "23001"
    with closing(connect(earlier, "posting")) as posting:
        sql(
            posting, "SELECT append_events('{5}', '{fee}', '{2020-04-01}', '{0.001}', NULL, NULL, '{why}', 'ann', NULL)"
        )
        assert sql(posting, "SELECT amt, memo, posted_by FROM loan_events WHERE memo IS NOT NULL") == [
            (Decimal("0.001"), "why", "ann")
        ]


def partition(settings):
    """Partition the tables as release 1.0.0 did."""
    engine = create_engine("postgresql+psycopg2://", creator=lambda: connect(settings, "admin"), poolclass=NullPool)
    script = _PARTITIONS.read_text().replace("public.loan_schedules, public.loan_terms, ", "")
    script = re.sub(r", (public\.|')loan_(terms|schedules)'?", "", script)
    with engine.begin() as connection:
        cursor = connection.connection.cursor()
        cursor.execute("SELECT set_config('loaner.partitions', '4', true)")
        cursor.execute(script)


def test_instances_of_the_previous_release_go_on(earlier):
    """Release 1.0.0 writes two decimals for every currency, and reads cents."""
    migrate(earlier)
    with closing(connect(earlier, "posting")) as posting:
        once = (
            "SELECT repeated, reply"
            " FROM post_events_once(%s, %s, '2020-08-01', %s, '{fee}', %s::date[], %s::numeric[], NULL, NULL)"
        )
        [(repeated, reply)] = sql(posting, once, b"k", b"d", 3, ["2020-07-02"], ["2.00"])
        assert (repeated, reply["balance"]) == (True, "1007.00")  # as it was given before the migration
        [(repeated, reply)] = sql(posting, once, b"l", b"d", 3, ["2020-07-02"], ["2.00"])
        assert (repeated, reply["balance"], reply["version"]) == (False, "1009", 3)
        sql(posting, "SELECT create_loan_once(NULL, NULL, '2020-08-01', 50, '2020-01-01', '7.00', 'JPY')")
        sql(posting, "SELECT create_loans('{51}', '{2020-01-01}', '{7.00}', '{USD}')")
        sql(posting, POST, 50, "fee", "9999-12-31", "3.00", None)
    with closing(connect(earlier, "reader")) as reader:
        reader.set_session(readonly=True)
        assert sql(reader, "SELECT known_until() <= clock_timestamp()") == [(True,)]
        cents = "SELECT (initial_amt * 100)::bigint FROM loans WHERE loan_id IN (3, 50, 51) ORDER BY loan_id"
        assert sql(reader, cents) == [(100_000,), (700,), (700,)]


def test_currencies_follow_the_table_of_this_release(settings, admin, posting):
    sql(admin, "INSERT INTO currencies VALUES ('ZZZ', 2); UPDATE currencies SET exponent = 4 WHERE code = 'USD'")
    migrate(settings)
    assert sql(admin, "SELECT code, exponent FROM currencies WHERE code IN ('USD', 'ZZZ')") == [("USD", 2)]
    error = expect_error(posting, "SELECT create_loans('{1}', '{2020-01-01}', '{1}', '{ZZZ}')")
    assert (error.pgcode, error.diag.column_name) == ("23514", "currency")


APPEND = "SELECT * FROM append_events(%s, %s, %s::date[], %s::numeric[], %s, %s::bigint[], %s, 'ann', NULL)"
ONCE = """
    SELECT repeated, reply FROM append_events_once(%s, %s, NULL, '2020-08-01', %s, %s, %s::date[], %s::numeric[], NULL,
                                                   NULL, NULL, 'ann', NULL)
"""
ALL_ROWS = [
    "SELECT loan_id, start_date, initial_amt, currency, version, turnover, recorded_at, exponent, posted_by, created_in"
    " FROM loans ORDER BY 1",
    "SELECT * FROM loan_events ORDER BY tx_id",
    "SELECT * FROM posted_requests ORDER BY id",
    "SELECT * FROM closed_periods",
]


def fill_previous(posting):
    sql(posting, "SELECT create_loans('{1,2,3}', '{2020-01-01,2020-02-01,2020-01-01}', '{1000,5.001,7}',"
                 " '{USD,KWD,JPY}', 'ann')")  # fmt: skip
    kinds, days = ["fee", "interest", "payment", "fee"], ["2020-03-01", "2020-04-01", "2020-07-01", "9999-12-31"]
    for loan_id in (1, 2):
        columns = ["1.5", "2.25", "300", "7"], ["a", "b", None, None], [None] * 4, ["why", None, None, None]
        sql(posting, APPEND, [loan_id] * 4, kinds, days, *columns)
    sql(posting, APPEND, [1], ["payment"], ["2020-07-02"], ["300"], [None], [3], [None])
    sql(posting, ONCE, b"k", b"d", 2, ["fee"], ["2020-05-01"], ["0.001"])


@pytest.mark.parametrize("partitions", [None, 4])
def test_a_database_of_the_previous_release_keeps_its_rows_and_answers(previous, partitions):
    loan_ids = (1, 2, 3)

    def answers(admin):
        rows = [sql(admin, query) for query in ALL_ROWS]
        return rows, {(i, day): sql(admin, "SELECT balance_on(%s, %s)", i, day)[0][0] for i in loan_ids for day in DAYS}

    if partitions is not None:
        partition(previous)
    with closing(connect(previous, "admin")) as admin:
        sql(admin, "SELECT close_period('2020-02-29', 'test')")
        before, filenodes = answers(admin), sql(admin, FILENODES)
        migrate(previous)
        assert answers(admin) == before
        assert sql(admin, FILENODES) == filenodes  # no table was rewritten
        assert sql(admin, "SELECT DISTINCT agreements FROM loans") == [(0,)]
        exponents = dict(sql(admin, "SELECT loan_id, exponent FROM loans"))
    database = ConnectionPool(previous)
    timelines = PostgresLedger(database).timelines(loan_ids)
    assert [(timelines[i].version, len(timelines[i])) for i in loan_ids] == [(5, 5), (5, 5), (0, 0)]
    for (loan_id, day), balance in before[1].items():
        minor_units = timelines[loan_id].balance_at(day_number(day))
        assert Decimal(minor_units).scaleb(-exponents[loan_id]) == balance, (loan_id, day)
        assert timelines[loan_id].balance_at(day_number(day)) == sum(balance_parts(timelines[loan_id], day_number(day)))
    database.close()
    with closing(connect(previous, "posting")) as posting:  # as its instances go on posting
        [(repeated, reply)] = sql(posting, ONCE, b"k", b"d", 2, ["fee"], ["2020-05-01"], ["0.001"])
        assert (repeated, reply["version"]) == (True, 5)
        post_terms(posting, (2, "2020-03-01", "0.1"))
        [(repeated, reply)] = sql(posting, ONCE, b"l", b"d", 2, ["fee"], ["2020-05-01"], ["0.001"])
        assert (repeated, reply["version"], [event["version"] for event in reply["events"]]) == (False, 7, [7])

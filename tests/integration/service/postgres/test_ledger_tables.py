"""The ledger's tables: append-only, written through functions only, with exact versions."""

import os
import signal
import socket
import threading
import time
from contextlib import closing
from datetime import date

import psycopg2
import pytest

from native import REVERSAL, day_number
from service.errors import DatabaseUnavailable, SettingsError, UnknownLoan
from service.ledger.repository import PostgresLedger
from service.postgres.connect import connect
from service.postgres.migrate import migrate, newest_revision
from service.postgres.pool import ConnectionPool
from tests.conftest import expect_error, sql
from tests.support.waiting import PATIENCE_S

DROP_ALL = "DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC"
POST = "SELECT * FROM post_events(%s, %s, %s::date[], %s::numeric[]) ORDER BY 1"


@pytest.fixture
def loans(posting):
    """Loans 1 and 2, without events."""
    sql(posting, "SELECT create_loans('{1,2}', '{2020-01-01,2020-02-01}', '{100.00,200.00}', '{USD,EUR}')")


@pytest.fixture
def ledger(settings):
    database = ConnectionPool(settings)
    yield PostgresLedger(database)
    database.close()


def post(connection, *events):
    """Post (loan, kind, day, amount) tuples as one batch. Return {loan: new version}."""
    loan_ids, kinds, days, amounts = (list(column) for column in zip(*events, strict=True))
    return dict(sql(connection, POST, loan_ids, kinds, days, amounts))


def test_a_batch_gives_each_loan_its_next_versions(loans, posting):
    batch = [(2, "fee", "2020-03-01", "1"), (1, "fee", "2020-03-01", "1"), (2, "payment", "2020-03-02", "2")]
    assert post(posting, *batch) == {1: 1, 2: 2}
    assert post(posting, (2, "interest", "2020-01-01", "0.01")) == {2: 3}
    rows = sql(posting, "SELECT loan_id, version, event_type FROM loan_events ORDER BY loan_id, tx_id")
    assert rows == [(1, 1, "fee"), (2, 1, "fee"), (2, 2, "payment"), (2, 3, "interest")]


def test_a_timeline_contains_the_posted_events(loans, posting, ledger):
    post(posting, (1, "payment", "2020-03-02", "30.00"), (1, "interest", "2020-03-01", "1.25"))
    timeline = ledger.timelines([1])[1]
    rows = timeline.window(-(2**31), 2**31 - 1)
    assert [(day, amount, running) for day, _, amount, running, *_ in rows] == [
        (day_number(date(2020, 3, 1)), 125, 101_25),
        (day_number(date(2020, 3, 2)), -30_00, 71_25),
    ]
    assert (timeline.version, timeline.currency, timeline.initial) == (2, "USD", 100_00)
    assert timeline.horizon > 0


def test_the_balance_of_a_loan_without_events_is_its_principal(loans, ledger):
    assert (len(ledger.timelines([2])[2]), ledger.timelines([2])[2].balance_at(2**31 - 1)) == (0, 200_00)


def test_unknown_loans_are_omitted_or_raise(loans, ledger):
    assert ledger.timelines([999]) == {}
    assert ledger.timelines([2, 999, 1]).keys() == {1, 2}
    with pytest.raises(UnknownLoan, match="999"):
        ledger.timeline_at(999, 0)


def test_the_largest_amounts_are_read_exactly(posting, ledger):
    sql(posting, "SELECT create_loans('{5}', '{2020-01-01}', '{9999999999999999.99}', '{USD}')")
    post(posting, (5, "fee", "2020-01-01", "0.01"))
    assert ledger.timelines([5])[5].balance_at(2**31 - 1) == 10**18


@pytest.mark.parametrize("table", ["loans", "loan_events"])
@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM {}", "TRUNCATE {} CASCADE", "UPDATE {} SET loan_id = loan_id + 1", "DELETE FROM {} WHERE false"],
)
def test_the_ledger_rejects_changes_even_by_its_owner(loans, posting, admin, table, statement):
    post(posting, (1, "fee", "2020-03-01", "1"))
    error = expect_error(admin, statement.format(table))
    assert error.pgcode == "23001"
    assert "append-only" in str(error)


@pytest.mark.parametrize(
    "change", ["initial_amt = 1", "start_date = '2000-01-01'", "currency = 'CHF'", "version = version - 1"]
)
def test_the_terms_of_a_loan_are_immutable_and_its_version_only_grows(loans, posting, admin, change):
    post(posting, (1, "fee", "2020-03-01", "1"))
    assert expect_error(admin, f"UPDATE loans SET {change} WHERE loan_id = 1").pgcode == "23001"


@pytest.mark.parametrize("role", ["reader", "posting"])
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO loans VALUES (9, '2020-01-01', 1, 'USD', 0)",
        "INSERT INTO loan_events (loan_id, event_type, post_date, amt, version, recorded_at)"
        " VALUES (1, 'fee', '2020-01-01', 1, 1, now())",
        "UPDATE loans SET version = 7",
        "DELETE FROM loan_events",
        "TRUNCATE loan_events",
    ],
)
def test_tables_are_writable_only_through_the_functions(loans, settings, role, statement):
    with closing(connect(settings, role)) as connection:
        assert expect_error(connection, statement).pgcode == "42501"


def test_a_reader_cannot_post(loans, settings):
    with closing(connect(settings, "reader")) as connection:
        assert expect_error(connection, POST, [1], ["fee"], ["2020-01-01"], ["1"]).pgcode == "42501"
        assert expect_error(connection, "SELECT create_loans('{9}', '{2020-01-01}', '{1}', '{USD}')").pgcode == "42501"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ((999, "fee", "2020-01-01", "1"), "23503"),
        ((None, "fee", "2020-01-01", "1"), "23503"),
        ((1, "gift", "2020-01-01", "1"), "23514"),
        ((1, "fee", "10000-01-01", "1"), "23514"),
        ((1, "fee", "2020-01-01", "0"), "23514"),
        ((1, "fee", "2020-01-01", "-1"), "23514"),
        ((1, "fee", "2020-01-01", "1.001"), "23514"),
        ((1, "fee", "2020-01-01", "NaN"), "23514"),
        ((1, "fee", "2020-01-01", "99999999999999999"), "23514"),
        ((1, "fee", "2020-01-01", "Infinity"), "23514"),
        ((1, "fee", "infinity", "1"), "23514"),
        ((1, None, "2020-01-01", "1"), "23502"),
    ],
)
def test_an_invalid_event_rejects_its_whole_batch(loans, posting, event, code):
    columns = [list(column) for column in zip((1, "fee", "2020-01-01", "1"), event, strict=True)]
    assert expect_error(posting, POST, *columns).pgcode == code
    assert sql(posting, "SELECT count(*), (SELECT sum(version) FROM loans) FROM loan_events") == [(0, 0)]


def test_arrays_of_different_lengths_are_rejected(loans, posting):
    assert "one length" in str(expect_error(posting, POST, [1, 1], ["fee"], ["2020-01-01"], ["1"]))


def test_a_null_batch_is_rejected(posting):
    assert "one length" in str(expect_error(posting, "SELECT * FROM post_events(NULL, NULL, NULL, NULL)"))
    assert "one length" in str(expect_error(posting, "SELECT * FROM post_events('{}', NULL, NULL, NULL)"))


@pytest.mark.parametrize("amount", ["-1", "1.001", "NaN", "99999999999999999"])
def test_a_loan_with_an_invalid_amount_is_rejected(posting, amount):
    expect_error(posting, "SELECT create_loans('{1}', '{2020-01-01}', %s::numeric[], '{USD}')", [amount])


REVERSE = "SELECT * FROM post_events(%s, %s, '{2020-05-01}', %s::numeric[], NULL, %s)"


def test_an_event_can_be_reversed_once(loans, posting, ledger):
    post(posting, (1, "fee", "2020-03-01", "5"))
    [(tx_id,)] = sql(posting, "SELECT tx_id FROM loan_events")
    sql(posting, REVERSE, [1], ["fee"], ["5"], [tx_id])
    timeline = ledger.timelines([1])[1]
    assert timeline.balance_at(2**31 - 1) == 100_00
    assert [row[1] for row in timeline.window(-(2**31), 2**31 - 1)] == [1, 1 | REVERSAL]
    assert expect_error(posting, REVERSE, [1], ["fee"], ["5"], [tx_id]).pgcode == "23505"


@pytest.mark.parametrize(("loan", "kind", "amount"), [(2, "fee", "5"), (1, "interest", "5"), (1, "fee", "4")])
def test_a_reversal_must_match_the_loan_type_and_amount_of_its_event(loans, posting, loan, kind, amount):
    post(posting, (1, "fee", "2020-03-01", "5"))
    [(tx_id,)] = sql(posting, "SELECT tx_id FROM loan_events")
    assert expect_error(posting, REVERSE, [loan], [kind], [amount], [tx_id]).pgcode == "23503"


def test_a_source_id_is_unique_per_loan(loans, posting):
    query = "SELECT * FROM post_events(%s, '{fee}', '{2020-01-01}', '{1}', '{invoice 1}')"
    sql(posting, query, [1])
    sql(posting, query, [2])
    assert expect_error(posting, query, [1]).pgcode == "23505"


def test_concurrent_batches_in_opposite_orders_neither_deadlock_nor_share_a_version(loans, settings):
    failures = []

    def work(order):
        try:
            with closing(connect(settings, "posting")) as connection:
                for _ in range(25):
                    post(connection, *[(loan, "fee", "2020-03-01", "1") for loan in order])
        except psycopg2.Error as err:
            failures.append(err)

    threads = [threading.Thread(target=work, args=(order,)) for order in ([1, 2], [2, 1], [1], [2, 1, 2])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with closing(connect(settings, "reader")) as connection:
        rows = sql(
            connection,
            "SELECT l.version, count(*), count(DISTINCT e.version), max(e.version)"
            " FROM loans l JOIN loan_events e USING (loan_id) GROUP BY loan_id ORDER BY loan_id",
        )
        assert rows == [(100, 100, 100, 100), (100, 100, 100, 100)]
        later = sql(connection, "SELECT bool_and(ok) FROM (SELECT recorded_at >= lag(recorded_at) OVER"
                                " (PARTITION BY loan_id ORDER BY version) AS ok FROM loan_events) AS o")  # fmt: skip
        assert later == [(True,)]


def test_posting_notifies_with_loan_version_and_transaction(loans, posting, admin):
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute("LISTEN loaner")
    post(posting, (1, "fee", "2020-03-01", "1"), (1, "fee", "2020-03-01", "1"), (2, "fee", "2020-03-01", "1"))
    deadline = time.monotonic() + PATIENCE_S
    while len(admin.notifies) < 2 and time.monotonic() < deadline:
        admin.poll()
        time.sleep(0.01)
    payloads = sorted(notice.payload.split() for notice in admin.notifies)
    assert [row[:2] for row in payloads] == [["1", "2"], ["2", "1"]]
    assert payloads[0][2] == payloads[1][2]
    assert int(payloads[0][2]) > 0


def test_migrating_again_changes_nothing(settings):
    migrate(settings)
    with closing(connect(settings, "reader")) as connection:
        assert sql(connection, "SELECT version_num FROM alembic_version") == [(newest_revision(),)]


def test_the_schema_of_a_newer_release_stays_unchanged(settings, admin, caplog):
    sql(admin, "UPDATE alembic_version SET version_num = '9999'")
    migrate(settings)
    assert "the schema is at revision 9999 of a newer release" in caplog.text
    assert sql(admin, "SELECT version_num FROM alembic_version") == [("9999",)]


def test_concurrent_migrations_are_safe(settings, admin):
    sql(admin, DROP_ALL)
    threads = [threading.Thread(target=migrate, args=(settings,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sql(admin, "SELECT version_num FROM alembic_version") == [(newest_revision(),)]


def test_migrating_without_the_rights_names_the_setting(settings, admin):
    sql(admin, DROP_ALL)
    reader = settings.replace(admin_user=settings.user, admin_password=settings.password)
    with pytest.raises(SettingsError, match="PSQL_ADMIN_USER"):
        migrate(reader)


def test_a_dead_connection_is_replaced(settings, loans, ledger, admin):
    ledger.timelines([1])[1]
    sql(admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'loaner reader'")
    assert ledger.timelines([1])[1].initial == 100_00


def test_an_exhausted_pool_raises_after_the_pool_timeout(settings):
    database = ConnectionPool(settings.replace(pool_size=1, pool_timeout_s=0.2))
    with database._connections.take(), pytest.raises(DatabaseUnavailable, match="in use"):
        database.row("SELECT 1")
    assert database.row("SELECT 1") == (1,)
    database.close()


def test_a_slow_query_is_canceled(settings):
    database = ConnectionPool(settings.replace(statement_timeout_s=0.1))
    with pytest.raises(DatabaseUnavailable, match="too long"):
        database.row("SELECT pg_sleep(5)")
    database.close()


def test_the_sessions_of_a_reader_are_read_only(settings, loans):
    database = ConnectionPool(settings.replace(user=settings.posting_user, password=settings.posting_password))
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        database.row(POST, ([1], ["fee"], ["2020-01-01"], ["1"]))
    database.close()


def test_an_unreachable_server_is_named(settings):
    gone = settings.replace(port=1)
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:1"):
        ConnectionPool(gone).row("SELECT 1")


@pytest.mark.parametrize(("role", "name"), [("posting", "PSQL_POSTING_USER"), ("admin", "PSQL_ADMIN_USER")])
def test_a_missing_user_is_named(settings, role, name):
    bare = settings.replace(posting_user=None, admin_user=None)
    with pytest.raises(SettingsError, match=name):
        connect(bare, role)


def test_a_missing_host_is_named(settings):
    with pytest.raises(SettingsError, match="PSQL_HOST"):
        connect(settings.replace(hosts=None), "reader")


def test_the_horizon_is_the_oldest_open_transaction(loans, settings, posting, ledger):
    with closing(connect(settings, "posting")) as slow, slow.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()")
        (oldest,) = cursor.fetchone()
        post(posting, (1, "fee", "2020-03-01", "1"))
        post(posting, (1, "fee", "2020-03-01", "1"))
        assert ledger.timelines([1])[1].horizon == int(oldest)


def test_a_reversal_cannot_be_reversed(loans, posting):
    post(posting, (1, "fee", "2020-03-01", "5"))
    [(tx_id,)] = sql(posting, "SELECT max(tx_id) FROM loan_events")
    sql(posting, REVERSE, [1], ["fee"], ["5"], [tx_id])
    [(newest,)] = sql(posting, "SELECT max(tx_id) FROM loan_events")
    assert expect_error(posting, REVERSE, [1], ["fee"], ["5"], [newest]).pgcode == "23503"


def test_a_batch_of_many_loans_sends_one_notification(posting, admin):
    ids = list(range(1, 502))
    columns = (ids, ["2020-01-01"] * 501, ["1"] * 501, ["USD"] * 501)
    sql(posting, "SELECT create_loans(%s, %s::date[], %s::numeric[], %s)", *columns)
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute("LISTEN loaner")
    post(posting, *[(loan, "fee", "2020-03-01", "1") for loan in ids])
    deadline = time.monotonic() + PATIENCE_S
    while not admin.notifies and time.monotonic() < deadline:
        admin.poll()
        time.sleep(0.01)
    [notice] = admin.notifies
    assert notice.payload.split()[:2] == ["*", "0"]
    assert int(notice.payload.split()[2]) > 0


def test_no_order_of_events_exceeds_64_bits(posting, ledger):
    sql(posting, "SELECT create_loans('{5}', '{2020-01-01}', '{9999999999999999.99}', '{USD}')")
    for _ in range(8):
        post(posting, (5, "fee", "2020-01-01", "9999999999999999.99"))
    assert expect_error(posting, POST, [5], ["payment"], ["2020-01-01"], ["9999999999999999.99"]).pgcode == "23514"
    assert ledger.timelines([5])[5].balance_at(2**31 - 1) == 9 * (10**18 - 1)


def test_migrating_a_database_with_unrelated_tables_of_these_names_changes_nothing(settings, admin):
    sql(admin, DROP_ALL)
    sql(admin, "CREATE TABLE loan_events (unrelated int)")
    with pytest.raises(SettingsError, match=r"nothing was changed: relation .* already exists"):
        migrate(settings)
    assert sql(admin, "SELECT to_regclass('loans')") == [(None,)]


def test_an_owner_without_createrole_can_migrate_if_the_roles_exist(settings, postgres, admin):
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute("CREATE ROLE plain_owner LOGIN PASSWORD 'x'")
        cursor.execute("CREATE DATABASE plain OWNER plain_owner")
    owned = settings.replace(database="plain", admin_user="plain_owner", admin_password="x")
    migrate(owned)
    with closing(connect(owned, "reader")) as connection:
        assert sql(connection, "SELECT count(*) FROM loans") == [(0,)]


def test_a_hanging_server_raises_within_the_timeout(settings, loans, postgres):
    database = ConnectionPool(settings.replace(statement_timeout_s=0.3))
    assert database.row("SELECT 1") == (1,)
    [(backend,)] = [database.row("SELECT pg_backend_pid()")]
    os.kill(backend, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        with pytest.raises(DatabaseUnavailable, match="too long"):
            database.row("SELECT 1")
        assert time.monotonic() - begun < 3
    finally:
        os.kill(backend, signal.SIGCONT)
    assert database.row("SELECT 1") == (1,)
    database.close()


def test_queries_fail_immediately_for_a_moment_after_a_failure_to_connect(settings):
    clock = [0.0]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gone = settings.replace(port=silent.getsockname()[1], connect_timeout_s=1)
        database = ConnectionPool(gone, now=lambda: clock[0])
        with pytest.raises(DatabaseUnavailable, match="no response"):
            database.row("SELECT 1")
        begun = time.monotonic()
        for _ in range(20):
            with pytest.raises(DatabaseUnavailable, match="no response"):
                database.row("SELECT 1")
        assert time.monotonic() - begun < 0.5
        clock[0] = 1.5
        begun = time.monotonic()
        with pytest.raises(DatabaseUnavailable, match="no response"):
            database.row("SELECT 1")
        assert time.monotonic() - begun > 0.5


def test_one_dead_connection_retires_the_other_idle_ones(settings, admin):
    database = ConnectionPool(settings)
    with database._connections.take(), database._connections.take(), database._connections.take():
        pass
    sql(admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'loaner reader'")
    assert database.row("SELECT 1") == (1,)
    assert database._connections._pool.checkedin() == 1
    database.close()

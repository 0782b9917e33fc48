"""Closed periods: nothing is dated in them, whoever posts; every closing is recorded."""

import re
import threading
from contextlib import closing
from datetime import UTC, date, datetime, timedelta

import pytest

from service.postgres.connect import connect
from tests.conftest import expect_error, sql
from tests.support.processes import reach, run
from tests.support.waiting import wait_until

CLOSE = "SELECT close_period(%s, %s)"
POST = "SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY[%s::date], ARRAY[1.00])"
CREATE = "SELECT create_loans(ARRAY[%s], ARRAY[%s::date], '{1}', '{USD}')"
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@pytest.fixture
def loan(posting):
    """Loan 1, of 2020-01-01."""
    sql(posting, CREATE, 1, "2020-01-01")


def wait_for(admin, count):
    """Wait until so many sessions wait for an advisory lock."""
    wait_until(lambda: sql(admin, WAITING) == [(count,)])


def test_nothing_is_dated_in_a_closed_period(loan, posting, admin):
    assert sql(admin, CLOSE, "2020-03-31", "first quarter") == [(None,)]
    for day in ("2020-03-31", "2020-01-01", "0001-01-01"):
        error = expect_error(posting, POST, day)
        assert (error.pgcode, error.diag.column_name, error.diag.constraint_name) == (
            "23514", "post_date", "period_is_open",
        )  # fmt: skip
        assert error.diag.message_detail == '[[0, 1, "2020-03-31"]]'
        error = expect_error(posting, CREATE, 2, day)
        assert (error.diag.column_name, error.diag.constraint_name) == ("start_date", "period_is_open")
        assert "closed until 2020-03-31" in str(error)
    sql(posting, POST, "2020-04-01")
    sql(posting, CREATE, 2, "2020-04-01")


def test_an_earlier_day_and_none_reopen(loan, posting, admin):
    sql(admin, CLOSE, "2020-03-31", "first quarter")
    assert sql(admin, CLOSE, "2020-02-29", "late invoices") == [(date(2020, 3, 31),)]
    sql(posting, POST, "2020-03-01")
    assert "closed until 2020-02-29" in str(expect_error(posting, POST, "2020-02-29"))
    sql(admin, CLOSE, None, "migration of old loans")
    sql(posting, POST, "2019-01-01")
    rows = sql(admin, "SELECT closed_until, why, closed_by FROM closed_periods ORDER BY id")
    assert [row[:2] for row in rows] == [
        (date(2020, 3, 31), "first quarter"), (date(2020, 2, 29), "late invoices"), (None, "migration of old loans"),
    ]  # fmt: skip
    assert {row[2] for row in rows} == {admin.info.user}


def test_today_and_later_are_refused(admin):
    for days in (0, 1, 400):
        day = datetime.now(UTC).date() + timedelta(days=days)
        assert expect_error(admin, "SELECT close_period(%s, 'x', current_date)", day).pgcode == "23514"


def test_closings_are_never_edited_and_only_the_owner_closes(admin, settings):
    sql(admin, CLOSE, "2020-03-31", "first quarter")
    for statement in ("DELETE FROM closed_periods", "UPDATE closed_periods SET why = 'x'", "TRUNCATE closed_periods"):
        assert expect_error(admin, statement).pgcode == "23001"
    for role in ("reader", "posting"):
        with closing(connect(settings, role)) as connection:
            assert sql(connection, "SELECT why FROM closed_periods") == [("first quarter",)]
            for statement in (
                "SELECT close_period('2020-01-01', 'x')",
                "INSERT INTO closed_periods (why, closed_by, closed_at) VALUES ('x', 'x', now())",
            ):
                assert expect_error(connection, statement).pgcode == "42501"


def test_a_reversal_on_the_date_of_its_event_is_refused_in_a_closed_period(loan, posting, admin):
    sql(posting, POST, "2020-03-01")
    sql(admin, CLOSE, "2020-03-31", "first quarter")
    reverse = "SELECT post_events('{1}', '{fee}', ARRAY[%s::date], '{1.00}', NULL, '{1}')"
    assert expect_error(posting, reverse, "2020-03-01").diag.constraint_name == "period_is_open"
    sql(posting, reverse, "2020-04-01")


def test_closing_waits_for_open_postings_and_blocks_new_ones(loan, posting, settings, admin):
    outcomes = {}

    def work(name, role, statement, *parameters):
        with closing(connect(settings, role)) as connection:
            try:
                outcomes[name] = sql(connection, statement, *parameters)
            except Exception as err:
                outcomes[name] = err

    with closing(connect(settings, "posting")) as open_posting:
        open_posting.cursor().execute(POST, ("2020-03-01",))
        closer = threading.Thread(target=work, args=("close", "admin", CLOSE, "2020-03-31", "first quarter"))
        closer.start()
        wait_for(admin, 1)
        poster = threading.Thread(target=work, args=("post", "posting", POST, "2020-03-02"))
        poster.start()
        wait_for(admin, 2)
        assert outcomes == {}
        open_posting.commit()
    closer.join(10)
    poster.join(10)
    assert outcomes["close"] == [(None,)]
    assert outcomes["post"].diag.constraint_name == "period_is_open"
    assert sql(posting, "SELECT post_date FROM loan_events") == [(date(2020, 3, 1),)]


def test_concurrent_closings_and_postings_leave_nothing_late_in_a_closed_period(loan, settings, admin):
    stop, failures = threading.Event(), []

    def close(reason):
        with closing(connect(settings, "admin")) as connection:
            for day in range(1, 15):
                sql(connection, CLOSE, date(2020, 3, day), reason)
        stop.set()

    def post(seed):
        with closing(connect(settings, "posting")) as connection:
            number = seed
            while not stop.is_set():
                number = number * 31 % 17
                try:
                    sql(connection, POST, date(2020, 3, 1 + number))
                except Exception as err:
                    if getattr(err, "pgcode", None) != "23514":
                        failures.append(err)

    threads = [threading.Thread(target=close, args=(r,)) for r in ("a", "b")]
    threads += [threading.Thread(target=post, args=(n,)) for n in (3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    late = """
        SELECT count(*) FROM loan_events AS e
        WHERE e.post_date <= (SELECT c.closed_until FROM closed_periods AS c WHERE c.closed_at < e.recorded_at
                              ORDER BY c.id DESC LIMIT 1)
    """
    assert sql(admin, late) == [(0,)]
    assert sql(admin, "SELECT count(*) FROM closed_periods") == [(28,)]


def test_posting_needs_read_committed(loan, settings):
    with closing(connect(settings, "posting")) as connection:
        connection.set_session(isolation_level="REPEATABLE READ")
        assert "READ COMMITTED" in str(expect_error(connection, POST, "2020-03-01"))


def test_a_request_with_a_key_and_a_closing_do_not_wait_for_each_other(loan, settings, admin):
    """Two postings with one key wait for each other; a closing between them must not."""
    once = (
        "SELECT append_events_once('k', 'd', NULL, '2020-08-01', 1, '{fee}', '{2020-05-01}', '{1}',"
        " NULL, NULL, NULL, 'a', NULL)"
    )
    outcomes = []

    def work(role, statement, *parameters):
        with closing(connect(settings, role)) as connection:
            outcomes.append(sql(connection, statement, *parameters))

    with closing(connect(settings, "posting")) as first:
        first.cursor().execute(once)
        threads = [threading.Thread(target=work, args=("admin", CLOSE, "2020-03-31", "why"))]
        threads[0].start()
        wait_for(admin, 1)
        threads.append(threading.Thread(target=work, args=("posting", once)))
        threads[1].start()
        wait_for(admin, 2)
        first.commit()
    for thread in threads:
        thread.join(10)
    assert len(outcomes) == 2


def test_the_command_closes_lists_and_reopens(settings, admin):
    variables = reach(settings)
    done = run("close", "--until", "2020-03-31", "--why", "first quarter", "--as", "Ann", **variables)
    assert (done.returncode, done.stdout) == (0, "the ledger is closed until 2020-03-31; every day was open\n"), (
        done.stderr
    )
    done = run("close", "--none", "--why", "late [invoices]", **variables)
    assert done.stdout == "every day of the ledger is open; it was closed until 2020-03-31\n"
    listed = run("close", "--list", **variables).stdout.splitlines()
    assert re.fullmatch(rf" *\(open\) +\S+ \S+ +{admin.info.user} +late \[invoices\] *", listed[1])
    assert re.fullmatch(rf" *2020-03-31 +\S+ \S+ +{admin.info.user} \(Ann\) +first quarter *", listed[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--until", "2999-01-01", "--why", "x"), "--until: expected a day before today"),
        (("--until", "2020-02-30", "--why", "x"), "expected a date that exists"),
        (("--until", "2020-02-28"), "--why is missing"),
        (("--none",), "--why is missing"),
        (("--until", "2020-02-28", "--none", "--why", "x"), "expected one of"),
        (("--until", "2020-02-28", "--list"), "expected one of"),
        (("--why", "x"), "expected one of"),
        ((), "expected one of"),
        (("--list", "--why", "x"), "--list takes neither"),
        (("--until", "2020-02-28", "--why", " "), "expected 1 to 1000 characters"),
        (("--until", "2020-02-28", "--why", "x", "--as", "a\nb"), "expected 1 to 100 characters"),
    ],
)
def test_the_command_refuses_other_options_and_closes_nothing(options, message, settings, admin):
    done = run("close", *options, **reach(settings))
    assert done.returncode != 0
    assert message in done.stderr
    assert sql(admin, "SELECT count(*) FROM closed_periods") == [(0,)]

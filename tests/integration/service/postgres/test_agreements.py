"""The tables of terms and schedules: append-only, with the loan's versions, written through functions only."""

import threading
from contextlib import closing
from datetime import date

import pytest

from native import ALLOCATIONS, day_number
from service.ledger.repository import PostgresLedger
from service.postgres.connect import connect
from service.postgres.pool import ConnectionPool
from tests.conftest import expect_error, sql
from tests.support.agreements import ORDER, post_schedules, post_terms

POST = "SELECT * FROM post_events(%s, %s, %s::date[], %s::numeric[]) ORDER BY 1"
TERMS = "SELECT * FROM append_terms('{1}', %s, %s, %s, %s, %s, %s, %s, %s, NULL)"
SCHEDULE = "SELECT * FROM append_schedules('{1}', '{2020-01-01}', %s, %s, NULL, NULL, NULL, NULL, NULL)"
INSTALLMENTS = [("2020-02-01", "50.00"), ("2020-03-01", "50.5")]


@pytest.fixture
def loans(posting):
    """Loans 1 and 2, without records."""
    sql(posting, "SELECT create_loans('{1,2}', '{2020-01-01,2020-02-01}', '{100.00,200.00}', '{USD,EUR}')")


@pytest.fixture
def ledger(settings):
    database = ConnectionPool(settings)
    yield PostgresLedger(database)
    database.close()


def fee(connection, loan_id=1, day="2020-03-01", amount="1"):
    return dict(sql(connection, POST, [loan_id], ["fee"], [day], [amount]))


def day(text):
    return day_number(date.fromisoformat(text))


def test_terms_schedules_and_events_share_one_sequence_of_versions(loans, posting, ledger):
    assert post_terms(posting, (2, "2020-01-01", "0.1"), (1, "2020-01-01", "0.2"), (2, "2020-06-01", "0.3")) == {
        1: 1,
        2: 2,
    }
    assert fee(posting) == {1: 2}
    assert post_schedules(posting, (1, "2020-01-01", INSTALLMENTS)) == {1: 3}
    assert fee(posting) == {1: 4}
    assert sql(posting, "SELECT version, agreements FROM loans ORDER BY loan_id") == [(4, 2), (2, 2)]
    assert sql(posting, "SELECT turnover FROM loans ORDER BY loan_id") == [(2,), (0,)]
    timeline = ledger.timelines([1])[1]
    assert (timeline.version, [event[5] for event in timeline.events(0, 2)]) == (4, [2, 4])


def test_a_timeline_has_the_terms_and_schedules_that_apply(loans, posting, ledger):
    post_terms(posting, (1, "2020-06-01", "10"), day_count="30E/360", allocation=ORDER[::-1], grace_days=3650)
    post_terms(posting, (1, "2020-01-01", "0.12345678"))
    post_schedules(posting, (1, "2020-01-01", INSTALLMENTS))
    post_schedules(posting, (1, "2019-01-01", [("2020-02-01", "1"), ("2020-02-01", "0.01")]))
    timeline = ledger.timelines([1, 2])[1]
    assert list(timeline.terms) == [
        (day("2020-01-01"), 12_345_678, 0, 0, 0),
        (day("2020-06-01"), 10 * 10**8, 3, ALLOCATIONS.index(ORDER[::-1]), 3650),
    ]
    assert list(timeline.schedules) == [
        (day("2019-01-01"), [(day("2020-02-01"), 1_00), (day("2020-02-01"), 1)]),
        (day("2020-01-01"), [(day("2020-02-01"), 50_00), (day("2020-03-01"), 50_50)]),
    ]
    assert list(ledger.timelines([2])[2].terms) == []


def rates(timeline):
    return [rate for _, rate, *_ in timeline.terms]


def test_of_one_effective_date_the_last_recorded_terms_that_are_not_reversed_apply(loans, posting, ledger):
    for rate in ("0.1", "0.2", "0.3"):
        post_terms(posting, (1, "2020-01-01", rate))
    post_terms(posting, (1, None, None), day_count=None, grace_days=None, reverses=3)
    post_terms(posting, (1, None, None), day_count=None, grace_days=None, reverses=1)
    post_terms(posting, (1, None, None), day_count=None, grace_days=None, reverses=2)
    found = [rates(ledger.timeline_at(1, version)) for version in range(7)]
    tenth = 10**7
    assert found == [[], [tenth], [2 * tenth], [3 * tenth], [2 * tenth], [2 * tenth], []]
    copied = sql(posting, "SELECT effective_date, rate::text, day_count, reverses FROM loan_terms WHERE version = 4")
    assert copied == [(date(2020, 1, 1), "0.3", "ACT/365F", 3)]


def test_of_one_effective_date_the_last_recorded_schedule_that_is_not_reversed_applies(loans, posting, ledger):
    for amount in ("1", "2"):
        post_schedules(posting, (1, "2020-01-01", [("2020-02-01", amount)]))
    post_schedules(posting, (1, None, []), reverses=2)
    found = [[amounts for _, amounts in ledger.timeline_at(1, version).schedules] for version in range(4)]
    due = day("2020-02-01")
    assert found == [[], [[(due, 1_00)]], [[(due, 2_00)]], [[(due, 1_00)]]]


def test_a_cached_timeline_is_current_only_if_no_terms_followed(loans, posting, ledger):
    fee(posting)
    cluster = sql_cluster(ledger)
    cached = ledger.timelines([1])
    assert ledger.timelines([1], cached, cluster)[1].terms == cached[1].terms
    post_terms(posting, (1, "2020-01-01", "0.1"))
    assert rates(ledger.timelines([1], cached, cluster)[1]) == [10**7]


def sql_cluster(ledger):
    [(cluster,)] = ledger._database.rows("SELECT current_setting('loaner.cluster')")
    return cluster


def test_what_was_known_counts_all_records(loans, posting, ledger):
    fee(posting)
    post_terms(posting, (1, "2020-01-01", "0.1"))
    fee(posting)
    post_schedules(posting, (1, "2020-01-01", INSTALLMENTS))
    fee(posting)
    times = dict(
        sql(
            posting,
            "SELECT version, recorded_at FROM loan_events UNION ALL SELECT version, recorded_at FROM loan_terms"
            " UNION ALL SELECT version, recorded_at FROM loan_schedules",
        )
    )
    assert sorted(times.values()) == [times[version] for version in range(1, 6)]
    for version, moment in times.items():
        for timeline in (ledger.timeline_known_at(1, moment), ledger.timelines_known_at([1, 2], moment)[1]):
            at = ledger.timeline_at(1, version)
            assert (timeline.version, len(timeline), timeline.terms, timeline.schedules) == (
                version, len(at), at.terms, at.schedules
            )  # fmt: skip


@pytest.mark.parametrize("table", ["loan_terms", "loan_schedules"])
@pytest.mark.parametrize(
    "statement", ["DELETE FROM {}", "TRUNCATE {}", "UPDATE {} SET memo = 'x'", "DELETE FROM {} WHERE false"]
)
def test_records_are_immutable_even_for_their_owner(loans, admin, table, statement):
    error = expect_error(admin, statement.format(table))
    assert (error.pgcode, "append-only" in str(error)) == ("23001", True)


@pytest.mark.parametrize("role", ["reader", "posting"])
@pytest.mark.parametrize("table", ["loan_terms", "loan_schedules"])
def test_tables_are_readable_and_writable_only_through_the_functions(loans, settings, role, table):
    with closing(connect(settings, role)) as connection:
        assert sql(connection, f"SELECT count(*) FROM {table}") == [(0,)]
        for statement in (
            f"INSERT INTO {table} DEFAULT VALUES",
            f"DELETE FROM {table}",
            "UPDATE loans SET agreements = 9",
        ):
            assert expect_error(connection, statement).pgcode == "42501"


@pytest.mark.parametrize(
    "function",
    [
        "append_terms('{}', '{}', '{}', '{}', '{}', '{}', NULL, NULL, NULL, NULL)",
        "append_schedules('{}', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL)",
        "append_terms_once(NULL, NULL, NULL, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        "append_schedule_once(NULL, NULL, NULL, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        "kept_reply(NULL, NULL)",
    ],
)
def test_a_reader_cannot_post(loans, settings, function):
    with closing(connect(settings, "reader")) as connection:
        assert expect_error(connection, f"SELECT * FROM {function}").pgcode == "42501"


VALID = {"effective_date": "2020-01-01", "rate": "0.1", "day_count": "ACT/365F",
         "allocation": "{fees,interest,principal}", "grace_days": 0}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"rate": "-0.1"}, "23514"),
        ({"rate": "10.00000001"}, "23514"),
        ({"rate": "0.123456789"}, "23514"),
        ({"rate": "NaN"}, "23514"),
        ({"rate": None}, "23502"),
        ({"day_count": "ACT/366"}, "23514"),
        ({"day_count": None}, "23502"),
        ({"allocation": "{fees,interest}"}, "23514"),
        ({"allocation": "{fees,interest,interest}"}, "23514"),
        ({"allocation": "{fees,interest,principal,fees}"}, "23514"),
        ({"allocation": "{{fees},{interest},{principal}}"}, "23514"),
        ({"grace_days": -1}, "23514"),
        ({"grace_days": 3651}, "23514"),
        ({"effective_date": "infinity"}, "23514"),
        ({"effective_date": None}, "23502"),
        ({"memo": "=1"}, "23514"),
        ({"source_id": ""}, "23514"),
        ({"reverses": 1}, "23503"),
    ],
)
def test_terms_have_rules(loans, posting, change, code):
    members = VALID | {"reverses": None, "source_id": None, "memo": None} | change
    call = (
        "SELECT * FROM append_terms('{1}', %s::date[], %s::numeric[], %s, %s, %s::int[], %s::bigint[], %s::text[],"
        " %s::text[], NULL)"
    )
    error = expect_error(posting, call, *([value] for value in members.values()))
    assert error.pgcode == code
    assert sql(posting, "SELECT version FROM loans WHERE loan_id = 1") == [(0,)]


@pytest.mark.parametrize(
    ("due_dates", "amounts", "code"),
    [
        ("{}", "{}", "23514"),
        ("{2020-02-01}", "{1,2}", "23514"),
        ("{2020-02-01,2020-01-31}", "{1,2}", "23514"),
        ("{2020-02-01,NULL}", "{1,2}", "23514"),
        ("{infinity}", "{1}", "23514"),
        ("{2020-02-01}", "{0}", "23514"),
        ("{2020-02-01}", "{-1}", "23514"),
        ("{2020-02-01}", "{NaN}", "23514"),
        ("{2020-02-01}", "{NULL}", "23514"),
        ("{2020-02-01}", "{0.001}", "23514"),
        ("{2020-02-01}", "{10000000000000000}", "23514"),
        ("{" + ",".join(["2020-02-01"] * 1201) + "}", "{" + ",".join(["1"] * 1201) + "}", "23514"),
        ("{" + ",".join(["2020-02-01"] * 10) + "}", "{" + ",".join(["9999999999999999"] * 10) + "}", "23514"),
        (None, None, "23502"),
    ],
)
def test_schedules_have_rules(loans, posting, due_dates, amounts, code):
    assert expect_error(posting, SCHEDULE, [due_dates], [amounts]).pgcode == code
    assert sql(posting, "SELECT version FROM loans WHERE loan_id = 1") == [(0,)]


def test_the_largest_schedule_is_stored_exactly(loans, posting, ledger):
    installments = [("2020-02-01", "70000000000000.01")] * 1200
    post_schedules(posting, (1, "2020-01-01", installments))
    [(_, stored)] = ledger.timelines([1])[1].schedules
    assert stored == [(day("2020-02-01"), 7_000_000_000_000_001)] * 1200


def test_a_batch_is_posted_whole_or_not_at_all(loans, posting):
    error = expect_error(
        posting,
        "SELECT * FROM append_terms('{1,999}', '{2020-01-01,2020-01-01}', '{0,0}', '{ACT/360,ACT/360}',"
        " ARRAY['{fees,interest,principal}', '{fees,interest,principal}'], '{0,0}', NULL, NULL, NULL, NULL)",
    )
    assert (error.pgcode, error.diag.column_name, error.diag.message_detail) == ("23503", "loan_id", "[[1, 999]]")
    assert sql(posting, "SELECT count(*) FROM loan_terms") == [(0,)]
    error = expect_error(
        posting,
        "SELECT * FROM append_terms('{1,2}', '{2020-01-01}', '{0}', '{a}', '{b}', '{0}', NULL, NULL, NULL, NULL)",
    )
    assert error.pgcode == "2202E"


def test_a_source_id_is_unique_among_the_records_of_one_table_and_loan(loans, posting):
    post_terms(posting, (1, "2020-01-01", "0.1"), source_id="7")
    post_schedules(posting, (1, "2020-01-01", INSTALLMENTS), source_id="7")
    post_terms(posting, (2, "2020-01-01", "0.1"), source_id="7")
    members = "'{1}', '{2020-01-01}', '{0}', '{ACT/360}', ARRAY['{fees,interest,principal}'], '{0}', NULL, '{7}'"
    assert expect_error(posting, f"SELECT append_terms({members}, NULL, NULL)").pgcode == "23505"


def test_a_record_is_reversed_once_and_a_reversal_never(loans, posting):
    post_terms(posting, (1, "2020-01-01", "0.1"))
    post_schedules(posting, (1, "2020-01-01", INSTALLMENTS))
    reverse = (
        "SELECT append_terms('{1}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', %s::bigint[], NULL, NULL, NULL)"
    )
    sql(posting, reverse, [1])
    assert expect_error(posting, reverse, [1]).pgcode == "23505"
    for other in (2, 3, 4):  # of the other table, a reversal, no record
        assert expect_error(posting, reverse, [other]).diag.column_name == "reverses"


def test_closed_periods_count_for_effective_dates_but_not_for_due_dates(loans, posting, admin):
    post_terms(posting, (1, "2020-03-31", "0.1"))
    post_schedules(posting, (1, "2020-03-31", INSTALLMENTS))
    sql(admin, "SELECT close_period('2020-03-31', 'test')")
    effective = "SELECT append_terms('{1}', %s::date[], '{0}', '{ACT/360}', ARRAY['{fees,interest,principal}'], '{0}',"
    error = expect_error(posting, f"{effective} NULL, NULL, NULL, NULL)", ["2020-03-31"])
    assert (error.diag.constraint_name, error.diag.column_name) == ("period_is_open", "effective_date")
    assert error.diag.message_detail == '[[0, 1, "2020-03-31"]]'
    for table, version in (("terms", 1), ("schedules", 2)):
        columns = (
            "'{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}'"
            if table == "terms"
            else "'{NULL}','{NULL}','{NULL}',NULL"
        )
        call = f"SELECT append_{table}('{{1}}', {columns}, ARRAY[{version}]::bigint[], NULL, NULL, NULL)"
        assert expect_error(posting, call).diag.constraint_name == "period_is_open"
    assert post_schedules(posting, (1, "2020-04-01", INSTALLMENTS)) == {1: 3}  # due in the closed period
    assert post_terms(posting, (1, "9999-12-31", "0.1")) == {1: 4}


def test_concurrent_terms_schedules_and_events_neither_share_nor_skip_a_version(loans, settings, posting):
    failures = []

    def repeat(post):
        try:
            with closing(connect(settings, "posting")) as connection:
                for _ in range(20):
                    post(connection)
        except Exception as err:  # reported in the test's own thread
            failures.append(err)

    posts = [
        lambda connection: post_terms(connection, (1, "2020-01-01", "0.1"), (2, "2020-01-01", "0.1")),
        lambda connection: post_terms(connection, (2, "2020-02-01", "0.2"), (1, "2020-02-01", "0.2")),
        lambda connection: post_schedules(connection, (2, "2020-01-01", INSTALLMENTS), (1, "2020-01-01", INSTALLMENTS)),
        lambda connection: sql(connection, POST, [2, 1], ["fee"] * 2, ["2020-03-01"] * 2, ["1"] * 2),
    ]
    threads = [threading.Thread(target=repeat, args=(post,)) for post in posts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    records = " UNION ALL ".join(
        f"SELECT version, recorded_at FROM {table} WHERE loan_id = %s"
        for table in ("loan_events", "loan_terms", "loan_schedules")
    )
    for loan_id in (1, 2):
        found = sql(posting, f"{records} ORDER BY 1", *[loan_id] * 3)
        assert [version for version, _ in found] == list(range(1, 81))
        times = [moment for _, moment in found]
        assert times == sorted(times)
        assert sql(posting, "SELECT version, agreements FROM loans WHERE loan_id = %s", loan_id) == [(80, 60)]


def test_a_notification_names_the_loan_its_version_and_the_transaction(loans, settings, posting):
    with closing(connect(settings, "reader")) as listener:
        listener.autocommit = True
        sql(listener, "LISTEN loaner")
        post_terms(posting, (1, "2020-01-01", "0.1"))
        post_schedules(posting, (1, "2020-01-01", INSTALLMENTS))
        listener.poll()
        sql(listener, "SELECT 1")
        payloads = [each.payload.split() for each in listener.notifies]
    assert [payload[:2] for payload in payloads] == [["1", "1"], ["1", "2"]]
    assert int(payloads[0][2]) < int(payloads[1][2])


def test_a_batch_of_many_loans_sends_one_notification(settings, posting):
    ids = list(range(1, 502))
    sql(posting, "SELECT create_loans(%s, %s::date[], %s::numeric[], %s)",
        ids, ["2020-01-01"] * 501, ["1"] * 501, ["USD"] * 501)  # fmt: skip
    with closing(connect(settings, "reader")) as listener:
        listener.autocommit = True
        sql(listener, "LISTEN loaner")
        post_terms(posting, *[(loan_id, "2020-01-01", "0.1") for loan_id in ids])
        listener.poll()
        sql(listener, "SELECT 1")
        assert [each.payload.split()[:2] for each in listener.notifies] == [["*", "0"]]


def test_an_interest_credit_lowers_the_balance(loans, posting, ledger):
    sql(posting, POST, [1, 1], ["interest", "interest_credit"], ["2020-02-01", "2020-03-01"], ["5", "2"])
    [(tx_id,)] = sql(posting, "SELECT tx_id FROM loan_events WHERE event_type = 'interest_credit'")
    assert sql(posting, "SELECT event_type FROM loan_events WHERE amt = 2") == [("interest_credit",)]
    assert ledger.timelines([1])[1].balance_at(day("2020-03-01")) == 103_00
    reverse = "SELECT post_events('{1}', '{interest_credit}', '{2020-04-01}', '{2}', NULL, %s)"
    sql(posting, reverse, [tx_id])
    assert ledger.timelines([1])[1].balance_at(day("2020-04-01")) == 105_00


def test_balance_on_agrees_with_the_timeline(loans, posting, admin, ledger):
    sql(
        posting,
        POST,
        [1] * 4,
        ["interest", "interest_credit", "payment", "fee"],
        ["2020-02-01"] * 4,
        ["5", "2", "7", "1"],
    )
    assert sql(admin, "SELECT balance_on(1, '2020-02-01')") == [(97,)]
    assert ledger.timelines([1])[1].balance_at(day("2020-02-01")) == 97_00

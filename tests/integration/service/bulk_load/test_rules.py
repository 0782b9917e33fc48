"""Rules of the ledger that a load checks before it writes, with the file and line of each row that breaks one."""

from datetime import date

from service.bulk_load.loader import load
from tests.conftest import sql
from tests.integration.service.bulk_load.conftest import bad_rows, counts

IN_CURRENCIES = (
    "loan_id,start_date,initial_amt,currency\n"
    "1,2019-12-05,1000,JPY\n2,2019-12-05,1.234,KWD\n3,2019-12-05,9999999999999999.99,USD\n"
    "4,2019-12-05,999999999999999999,JPY\n"
)
MOST = "9999999999999999.99"  # 9.2 of these fit a loan


def close(admin, until: str | None) -> None:
    sql(admin, "SELECT close_period(%s, 'reported')", until)


def test_amounts_have_at_most_the_decimals_of_their_currency(posting, files):
    load(posting, *files(IN_CURRENCIES, "1,fee,2020-01-01,5\n2,fee,2020-01-01,0.001\n3,fee,2020-01-01,0.01\n"))
    loans = (
        "loan_id,start_date,initial_amt,currency\n"
        "11,2019-12-05,1000.50,JPY\n12,2019-12-05,1.2345,KWD\n13,2019-12-05,1.234,USD\n14,2019-12-05,1.00,JPY\n"
        "15,2019-12-05,10000000000000000.00,USD\n16,2019-12-05,1.00,XAU\n17,2019-12-05,1.00,XXX\n18,2019-12-05,1.00,ABC\n"
        "19,2019-12-05,1.234,KWD\n"
    )
    events = (
        "1,fee,2020-01-01,0.5\n2,fee,2020-01-01,0.0001\n3,fee,2020-01-01,0.001\n1,fee,2020-01-01,5.0\n"
        "2,fee,2020-01-01,1000000000000000\n19,fee,2020-01-01,0.001\n19,fee,2020-01-01,0.0001\n11,fee,2020-01-01,1.005\n"
        "16,fee,2020-01-01,1.005\n"
    )
    currency = "currency: expected an ISO 4217 currency with minor units, such as USD, found"
    assert bad_rows(posting, files(loans, events)) == [
        "loans.csv:2: initial_amt: expected at most 0 decimals (JPY), found '1000.50'",
        "loans.csv:3: initial_amt: expected at most 3 decimals (KWD), found '1.2345'",
        "loans.csv:4: initial_amt: expected at most 2 decimals (USD), found '1.234'",
        "loans.csv:5: initial_amt: expected at most 0 decimals (JPY), found '1.00'",
        "loans.csv:6: initial_amt: expected an amount below 10000000000000000 (USD), found '10000000000000000.00'",
        f"loans.csv:7: {currency} 'XAU'",
        f"loans.csv:8: {currency} 'XXX'",
        f"loans.csv:9: {currency} 'ABC'",
        "events.csv:1: amt: expected at most 0 decimals (JPY), found '0.5'",
        "events.csv:2: amt: expected at most 3 decimals (KWD), found '0.0001'",
        "events.csv:3: amt: expected at most 2 decimals (USD), found '0.001'",
        "events.csv:4: amt: expected at most 0 decimals (JPY), found '5.0'",
        "events.csv:5: amt: expected an amount below 1000000000000000 (KWD), found '1000000000000000'",
        "events.csv:7: amt: expected at most 3 decimals (KWD), found '0.0001'",
        "events.csv:8: amt: expected at most 0 decimals (JPY), found '1.005'",
    ]


def test_a_total_that_is_too_large_names_file_line_and_loan(posting, files):
    load(posting, *files("1,2019-12-05,0\n2,2019-12-05,0\n", f"1,fee,2020-01-01,{MOST}\n" * 5))
    rows = f"1,fee,2020-01-01,{MOST}\n2,fee,2020-01-01,{MOST}\n" * 6
    assert bad_rows(posting, files("", rows)) == [
        "events.csv:9: amt: the sum of the amounts of loan 1 would exceed what the ledger can store"
    ]
    new = f"loan_id,start_date,initial_amt,currency\n3,2019-12-05,{MOST.replace('.', '')},JPY\n"
    assert bad_rows(posting, files(new, f"3,fee,2020-01-01,{MOST.replace('.', '')}\n" * 9)) == [
        "events.csv:9: amt: the sum of the amounts of loan 3 would exceed what the ledger can store"
    ]
    load(posting, *files("", f"1,fee,2020-01-01,{MOST}\n" * 4))
    assert counts(posting) == (2, 9)


def test_nothing_is_loaded_into_a_closed_period(posting, admin, files):
    with_ids = "loan_id,event_type,post_date,amt,source_id\n1,fee,2020-01-31,1.00,A1\n1,fee,2020-02-01,1.00,A2\n"
    load(posting, *files("1,2019-12-05,10.00\n", with_ids))
    close(admin, "2020-01-31")
    loans = "1,2019-12-05,10.00\n2,2020-01-31,10.00\n3,2020-02-01,10.00\n"
    events = with_ids + "1,fee,2020-01-31,1.00,A3\n3,fee,2020-02-01,1.00,A4\n3,fee,2020-01-01,1.00,\n"
    closed = "expected a date after 2020-01-31, until which the ledger is closed"
    assert bad_rows(posting, files(loans, events)) == [
        f"loans.csv:2: start_date: {closed}",
        f"events.csv:4: post_date: {closed}",
        f"events.csv:6: post_date: {closed}",
    ]
    loaded = load(posting, *files("1,2019-12-05,10.00\n", with_ids))  # recorded before it was closed
    assert (loaded.events, loaded.skipped_events, loaded.existing_loans) == (0, 2, 1)
    close(admin, None)
    assert load(posting, *files(loans, events)).events == 3


def test_an_event_may_not_be_dated_too_far_in_the_future(posting, files):
    header = "loan_id,event_type,post_date,amt,source_id,reverses_source_id\n"
    far = "1,fee,2021-02-03,1.00,A1,\n1,fee,2021-02-01,1.00,A2,\n"
    load(posting, *files("1,2019-12-05,10.00\n", header + far))
    rows = (
        "1,fee,2021-02-02,1.00,B2,\n1,fee,2021-02-03,1.00,,A1\n1,fee,2021-02-02,1.00,,A2\n1,fee,2021-02-01,1.00,B1,\n"
        "1,fee,2021-02-02,2.00,C1,\n1,fee,2021-02-02,2.00,C2,C1\n"
    )
    latest = "expected a date up to 2021-02-01 (MAX_FUTURE_DAYS)"
    assert bad_rows(posting, files("", header + far + rows), latest_date=date(2021, 2, 1)) == [
        f"events.csv:4: post_date: {latest}",
        f"events.csv:6: post_date: {latest}",
        f"events.csv:8: post_date: {latest}",
    ]
    allowed = "1,fee,2021-02-03,1.00,,A1\n1,fee,2021-02-01,1.00,B1,\n"
    loaded = load(posting, *files("", header + far + allowed), latest_date=date(2021, 2, 1))
    assert (loaded.events, loaded.skipped_events) == (2, 2)


def test_the_user_of_the_database_is_recorded_and_a_name_beside_it(posting, files):
    load(posting, *files("1,2019-12-05,10.00\n", "1,fee,2020-02-01,1.00\n"))
    load(posting, *files("2,2019-12-05,10.00\n", "2,fee,2020-02-01,1.00\n"), name="Ann Å")
    for table in ("loans", "loan_events"):
        found = sql(posting, f"SELECT loan_id, posted_by FROM {table} ORDER BY 1")
        assert found == [(1, "loaner_posting"), (2, "loaner_posting (Ann Å)")]


def test_a_file_with_an_invalid_header_does_not_hide_the_errors_of_the_other(posting, files):
    columns = "the columns are loan_id, start_date, initial_amt, currency, rate, day_count, allocation, grace_days"
    assert bad_rows(
        posting, files("id,start_date,initial_amt\n1,2020-01-01,1\n", "1,fee,2020-01-01,x\n2,fee,2020-01-01,1\n")
    ) == [
        f"loans.csv:1: header: unknown column 'id' ({columns})",
        f"loans.csv:1: header: column loan_id is missing ({columns})",
        "events.csv:1: amt: expected an amount above zero, such as 1000.00, with at most 18 digits and 4 decimals, "
        "found 'x'",
    ]

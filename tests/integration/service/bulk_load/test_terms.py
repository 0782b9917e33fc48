"""Terms of loans in LOANS and in a file of terms: what is recorded, skipped and refused."""

from datetime import date
from decimal import Decimal

import pytest

from service.bulk_load.loader import load
from service.bulk_load.rejection import LoadRejected
from tests.conftest import sql
from tests.integration.service.bulk_load.conftest import bad_rows, counts

WITH_TERMS = "loan_id,start_date,initial_amt,currency,rate,day_count,allocation,grace_days\n"
LOANS = (
    WITH_TERMS + "1,2019-12-05,1000.00,USD,0.10,ACT/365F,,\n"
    "2,2019-12-06,2000,JPY,10,30E/360,interest>principal>fees,3650\n"
    "3,2019-12-07,30.00,USD,,,,\n"
)
EVENTS = (
    "loan_id,event_type,post_date,amt,source_id\n1,interest,2020-01-31,10.00,A1\n3,interest_credit,2020-01-31,1.00,A1\n"
)
OVER_TIME = "loan_id,effective_date,rate,day_count,allocation,grace_days,source_id\n"
FEES_FIRST = ["fees", "interest", "principal"]


@pytest.fixture
def terms_file(tmp_path):
    """Return a function that writes a file of terms and returns its path."""

    def write(rows: str):
        path = tmp_path / "terms.csv"
        path.write_text(OVER_TIME + rows)
        return path

    return write


def recorded(connection) -> list[tuple]:
    return sql(
        connection,
        "SELECT loan_id, version, effective_date::text, rate, day_count, allocation, grace_days, source_id"
        " FROM loan_terms ORDER BY loan_id, version",
    )


def numbers(loaded) -> tuple[int, int, int, int]:
    return loaded.terms, loaded.skipped_terms, loaded.events, loaded.skipped_events


def test_terms_of_new_loans_come_before_their_events(posting, files):
    assert numbers(load(posting, *files(LOANS, EVENTS), name="ann")) == (2, 0, 2, 0)
    assert recorded(posting) == [
        (1, 1, "2019-12-05", Decimal("0.10"), "ACT/365F", FEES_FIRST, 0, None),
        (2, 1, "2019-12-06", Decimal(10), "30E/360", ["interest", "principal", "fees"], 3650, None),
    ]
    assert sql(posting, "SELECT loan_id, version FROM loan_events ORDER BY 1") == [(1, 2), (3, 1)]
    assert sql(posting, "SELECT loan_id, version, agreements FROM loans ORDER BY 1") == [
        (1, 2, 1),
        (2, 1, 1),
        (3, 1, 0),
    ]
    assert sql(posting, "SELECT DISTINCT posted_by FROM loan_terms") == [("loaner_posting (ann)",)]


def test_unchanged_files_do_nothing(posting, files, terms_file):
    terms = "1,2020-06-01,0.12,ACT/360,,5,\n1,2020-06-01,0.12,ACT/360,,5,T1\n1,2020-06-01,0.13,ACT/360,,5,T2\n"
    assert numbers(load(posting, *files(LOANS, EVENTS), terms=terms_file(terms))) == (5, 0, 2, 0)
    before = recorded(posting)
    assert numbers(load(posting, *files(LOANS, EVENTS), terms=terms_file(terms))) == (0, 5, 0, 2)
    same = LOANS.replace("0.10", "0.1000").replace("ACT/365F,,", "ACT/365F,fees>interest>principal,0")
    assert numbers(load(posting, *files(same, EVENTS), terms=terms_file(terms))) == (0, 5, 0, 2)
    assert recorded(posting) == before
    assert sql(posting, "SELECT version FROM loans ORDER BY loan_id") == [(5,), (1,), (1,)]


def test_reversed_terms_are_not_recorded_again(posting, files):
    load(posting, *files(LOANS, EVENTS))
    sql(
        posting,
        "SELECT append_terms('{1}', '{2020-01-01}', '{0}', '{ACT/360}', '{NULL}', '{0}', '{1}', NULL, NULL, NULL)",
    )
    assert numbers(load(posting, *files(LOANS, EVENTS))) == (0, 2, 0, 2)


def test_loans_without_terms_get_those_of_a_later_file(posting, files):
    events = "1,interest,2020-01-31,10.00\n1,interest_credit,2020-01-31,1.00\n"
    load(posting, *files("1,2019-12-05,1000.00\n", events))
    assert numbers(load(posting, *files(WITH_TERMS + "1,2019-12-05,1000.00,USD,0.10,ACT/ACT,,\n", ""))) == (1, 0, 0, 0)
    assert [row[:5] for row in recorded(posting)] == [(1, 3, "2019-12-05", Decimal("0.10"), "ACT/ACT")]
    assert numbers(load(posting, *files("1,2019-12-05,1000.00\n", ""))) == (0, 0, 0, 0)


def test_terms_that_differ_from_those_of_a_loan_are_errors(posting, files):
    load(posting, *files(LOANS, EVENTS))
    rows = (
        "1,2019-12-05,1000.00,USD,0.11,ACT/360,interest>fees>principal,1\n"
        "2,2019-12-06,2000,JPY,10,30E/360,interest>principal>fees,3649\n"
    )
    differs = "already exists with different terms"
    assert bad_rows(posting, files(WITH_TERMS + rows, "")) == [
        f"loans.csv:2: loan_id: loan 1 {differs}: rate 0.10, not 0.11, day_count ACT/365F, not ACT/360, "
        "allocation fees>interest>principal, not interest>fees>principal, grace_days 0, not 1",
        f"loans.csv:3: loan_id: loan 2 {differs}: grace_days 3650, not 3649",
    ]


def test_terms_over_time_that_contradict_each_other_are_errors(posting, files, terms_file):
    load(posting, *files(LOANS, EVENTS), terms=terms_file("1,2020-06-01,0.12,ACT/360,,5,T1\n"))
    rows = (
        "1,2020-06-01,0.12,ACT/360,,6,T1\n"
        "1,2020-07-01,0.13,ACT/360,,5,T2\n"
        "1,2020-08-01,0.13,ACT/360,,5,T2\n"
        "1,2019-12-05,0.13,ACT/360,,5,\n"
        "2,2020-08-01,0.13,ACT/360,,5,\n"
        "2,2020-08-01,0.14,ACT/360,,5,\n"
        "2,2020-08-01,0.13,ACT/360,,5,\n"
    )
    source_id = "source_id: loan 1 already has terms"
    both = "terms that replace these need a source_id"
    assert bad_rows(posting, files(LOANS, EVENTS), terms=terms_file(rows)) == [
        f"terms.csv:2: {source_id} 'T1' that differ: grace_days 5, not 6",
        f"terms.csv:4: {source_id} 'T2' on line 3 that differ: effective_date 2020-07-01, not 2020-08-01",
        f"terms.csv:5: effective_date: loan 1 has other terms from 2019-12-05 on line 2 of LOANS; {both}",
        f"terms.csv:7: effective_date: loan 2 has other terms from 2020-08-01 on line 6; {both}",
    ]


def test_rows_without_a_rate_have_no_other_terms(posting, files):
    rows = "1,2019-12-05,1.00,USD,,ACT/360,,\n2,2019-12-05,1.00,USD,,,,0\n3,2019-12-05,1.00,USD,0.10,,,\n"
    no_rate = "rate: expected a rate, since the row has other terms"
    assert bad_rows(posting, files(WITH_TERMS + rows, "")) == [
        f"loans.csv:2: {no_rate}",
        f"loans.csv:3: {no_rate}",
        "loans.csv:4: day_count: expected a day count, since the row has a rate",
    ]
    assert bad_rows(posting, files("loan_id,start_date,initial_amt,day_count\n1,2019-12-05,1.00,ACT/360\n", "")) == [
        f"loans.csv:2: {no_rate}"
    ]


def test_fields_of_terms_are_validated(posting, files, terms_file):
    rows = (
        "9,2020-01-01,0.10,ACT/360,,,\n1,2020-01-32,10.1,ACT/365,fees>interest,3651,\n1,2020-01-02,,,,,\n"
        "1,2020-01-03,-0.1,ACT/360,fees interest principal,-1,\n1,2020-01-04,0.123456789,ACT/360,,1.5,\n"
    )
    rate = "rate: expected a rate per year from 0 to 10 with at most 8 decimals, such as 0.10 for 10 %, found"
    day_count = "day_count: expected one of ACT/365F, ACT/360, ACT/ACT, 30E/360, found"
    allocation = (
        "allocation: expected one of fees>interest>principal, fees>principal>interest, interest>fees>principal, "
        "interest>principal>fees, principal>fees>interest, principal>interest>fees, found"
    )
    grace_days = "grace_days: expected a whole number from 0 to 3650, found"
    day = "effective_date: expected a date that exists, written YYYY-MM-DD (day is out of range for month), found"
    assert bad_rows(posting, files(LOANS, ""), terms=terms_file(rows)) == [
        "terms.csv:2: loan_id: unknown loan 9",
        f"terms.csv:3: {day} '2020-01-32'",
        f"terms.csv:3: {rate} '10.1'",
        f"terms.csv:3: {day_count} 'ACT/365'",
        f"terms.csv:3: {allocation} 'fees>interest'",
        f"terms.csv:3: {grace_days} '3651'",
        f"terms.csv:4: {rate} ''",
        f"terms.csv:4: {day_count} ''",
        f"terms.csv:5: {rate} '-0.1'",
        f"terms.csv:5: {allocation} 'fees interest principal'",
        f"terms.csv:5: {grace_days} '-1'",
        f"terms.csv:6: {rate} '0.123456789'",
        f"terms.csv:6: {grace_days} '1.5'",
    ]


def test_no_terms_take_effect_in_a_closed_period(posting, admin, files, terms_file):
    load(posting, *files(LOANS, EVENTS), terms=terms_file("3,2020-01-01,0.10,ACT/360,,,\n"))
    sql(admin, "SELECT close_period('2020-01-31', 'reported')")
    closed = "expected a date after 2020-01-31, until which the ledger is closed"
    loans = LOANS.replace("3,2019-12-07,30.00,USD,,", "3,2019-12-07,30.00,USD,0.1,ACT/360")
    rows = "3,2020-01-01,0.10,ACT/360,,,\n1,2020-01-31,0.10,ACT/360,,,\n1,2020-02-01,0.10,ACT/360,,,\n"
    new = WITH_TERMS + "4,2020-01-31,1.00,USD,0.10,ACT/360,,\n"
    assert bad_rows(posting, files(loans, EVENTS), terms=terms_file(rows)) == [
        f"loans.csv:4: start_date: {closed}",
        f"terms.csv:3: effective_date: {closed}",
    ]
    assert bad_rows(posting, files(new, "")) == [f"loans.csv:2: start_date: {closed}"]
    rows = rows.replace("1,2020-01-31,0.10,ACT/360,,,\n", "")
    loaded = load(posting, *files(LOANS, EVENTS), terms=terms_file(rows), latest_date=date(2020, 1, 1))
    assert numbers(loaded) == (1, 3, 0, 2)


def test_terms_are_posted_in_batches(posting, files, terms_file, monkeypatch):
    monkeypatch.setattr("service.bulk_load.agreement_posting.BATCH_TERMS", 2)
    rows = "".join(f"{1 + n % 3},2020-02-{n + 1:02},0.10,ACT/360,,{n},\n" for n in range(9))
    reported = []
    loaded = load(posting, *files(LOANS, EVENTS), terms=terms_file(rows), on_progress=reported.append)
    assert numbers(loaded) == (11, 0, 2, 0)
    found = [(row[0], row[6]) for row in recorded(posting) if row[2] > "2020"]
    assert found == [(loan, n) for loan in (1, 2, 3) for n in range(loan - 1, 9, 3)]
    posted = [each.done for each in reported if each.step == "posting"]
    assert posted == [0, 4, 8, 11, 13]
    assert {each.total for each in reported if each.step == "posting"} == {13}


def test_nothing_is_loaded_if_the_file_of_terms_is_missing(posting, files, tmp_path):
    with pytest.raises(LoadRejected, match=r"none\.csv: No such file"):
        load(posting, *files(LOANS, EVENTS), terms=tmp_path / "none.csv")
    assert counts(posting) == (0, 0)

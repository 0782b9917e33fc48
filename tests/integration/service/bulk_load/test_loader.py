"""Loading CSV files: all or nothing, with every error reported, and never twice by accident."""

import threading
from contextlib import closing
from decimal import Decimal

import pytest

from service.bulk_load.loader import load
from service.bulk_load.progress import Progress
from service.bulk_load.rejection import LoadRejected
from service.bulk_load.sample import sample_loans, write_sample
from service.ledger.repository import PostgresLedger
from service.postgres.connect import connect
from service.postgres.pool import ConnectionPool
from tests.conftest import expect_error, sql
from tests.integration.service.bulk_load.conftest import GOOD_EVENTS, GOOD_LOANS, bad_rows, counts


def test_two_files_are_loaded(posting, files):
    loaded = load(posting, *files())
    assert (loaded.loans, loaded.events, loaded.existing_loans) == (2, 3, 0)
    rows = sql(posting, "SELECT loan_id, version, event_type, amt FROM loan_events ORDER BY loan_id, version")
    assert rows == [
        (1, 1, "interest", Decimal("10.00")),
        (1, 2, "payment", Decimal("100.00")),
        (2, 1, "payment", Decimal("500.50")),
    ]


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda text, names: f"{names}\n{text}",
        lambda text, names: f"{names.upper()}\r\n" + text.replace("\n", "\r\n"),
        lambda text, names: "\ufeff" + names + "\n" + text,
        lambda text, names: text.rstrip("\n"),
        lambda text, names: text + "\n\n",
        lambda text, names: "\n".join(",".join(f'"{field}"' for field in row.split(",")) for row in text.splitlines()),
        lambda text, names: text.replace(",", " , "),
    ],
    ids=["header", "header and CRLF", "byte order mark", "no last newline", "empty lines", "quotes", "spaces"],
)
def test_common_csv_dialects_are_accepted(posting, files, rewrite):
    paths = files(rewrite(GOOD_LOANS, "loan_id,start_date,initial_amt"),
                  rewrite(GOOD_EVENTS, "loan_id,event_type,post_date,amt"))  # fmt: skip
    loaded = load(posting, *paths)
    assert (loaded.loans, loaded.events) == (2, 3)


def test_every_error_is_reported_and_nothing_is_written(posting, files):
    loans = "1,2019-12-05,1000.00\n2,2019-02-30,1\n3,2019-12-05,1.001\n1,2019-12-05,5\nx,y,z\n"
    events = (
        "1,interest,2020-01-31,10.00\n1,gift,2020-01-31,1\n1,fee,31.1.2020,1\n1,fee,2020-01-31,0\n"
        "9,fee,2020-01-31,1\n1,fee,2020-01-31\n2,fee,2020-01-31,1.00\n1,fee,2020-02-30,1.00\n"
        '1,"fee,2020-01-31,1\n'
    )
    assert bad_rows(posting, files(loans, events)) == [
        "loans.csv:2: start_date: expected a date that exists, written YYYY-MM-DD (day is out of range for month), "
        "found '2019-02-30'",
        "loans.csv:3: initial_amt: expected at most 2 decimals (USD), found '1.001'",
        "loans.csv:4: loan_id: loan 1 is already in this file, on line 1",
        "loans.csv:5: loan_id: expected a whole number from 1 to 9223372036854775807, found 'x'",
        "loans.csv:5: start_date: expected a date written YYYY-MM-DD, found 'y'",
        "loans.csv:5: initial_amt: expected an amount such as 1000.00, with at most 18 digits and 4 decimals, "
        "found 'z'",
        "events.csv:2: event_type: expected one of fee, interest, payment, interest_credit, found 'gift'",
        "events.csv:3: post_date: expected a date written YYYY-MM-DD, found '31.1.2020'",
        "events.csv:4: amt: expected an amount above zero, such as 1000.00, with at most 18 digits and 4 decimals, "
        "found '0'",
        "events.csv:5: loan_id: unknown loan 9",
        "events.csv:6: row: expected 4 fields (loan_id,event_type,post_date,amt), found 3",
        "events.csv:8: post_date: expected a date that exists, written YYYY-MM-DD (day is out of range for month), "
        "found '2020-02-30'",
        "events.csv:9: row: invalid CSV: unexpected end of data",
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"\xff\xfe,fee,2020-01-31,1", "expected UTF-8 text"),
        (b"1,fee,2020-01-31," + b"1" * 10_000, "row: the line is longer than 4096 bytes"),
        (b"1,fee,2020-01-31," + b" " * 4080 + b"1000.00", "row: the line is longer than 4096 bytes"),
        (b"1,fee,2020-01-31,1\x00", "amt: expected an amount"),
        (b"1,fee,2020-01-31,-1", "expected an amount"),
        (b"1,fee,2020-01-31,1e3", "expected an amount"),
        (b"1,fee,2020-01-31,NaN", "expected an amount"),
        (b"1,fee,2020-01-31,0.00", "expected an amount above zero"),
        (b"\\.", "expected 4 fields"),
        (b"1,fee,2020-01-31,1,extra", "found 5"),
        (b"loan_id,event_type,post_date,amt", "loan_id: expected a whole number"),
    ],
)
def test_a_malformed_row_is_reported_on_its_line_only(posting, files, row, reason):
    errors = bad_rows(posting, files(GOOD_LOANS, b"1,fee,2020-01-31,1.00\n" + row + b"\n2,fee,2020-01-31,1.00\n"))
    assert errors
    assert all(error.startswith("events.csv:2: ") for error in errors)
    assert reason in errors[0]


def test_a_loaded_file_is_rejected_without_the_option_again(posting, files):
    paths = files()
    load(posting, *paths)
    with pytest.raises(LoadRejected, match=r"events\.csv was already loaded on .*--again"):
        load(posting, *paths)
    assert counts(posting) == (2, 3)
    again = load(posting, *paths, again=True)
    assert (again.loans, again.existing_loans, again.events) == (0, 2, 3)
    assert counts(posting) == (2, 6)


def test_a_loaded_file_is_recognized_by_its_content(posting, files, tmp_path):
    loans, events = files()
    load(posting, loans, events)
    renamed, empty = tmp_path / "other.csv", tmp_path / "none.csv"
    renamed.write_bytes(events.read_bytes())
    empty.touch()
    with pytest.raises(LoadRejected, match=r"other\.csv was already loaded"):
        load(posting, empty, renamed)


def test_further_events_of_existing_loans_are_loaded(posting, files, tmp_path):
    load(posting, *files())
    empty = tmp_path / "none.csv"
    empty.touch()
    for row in ("1,fee,2020-03-01,5.00\n", "2,fee,2020-03-01,5.00\n"):
        more = tmp_path / "more.csv"
        more.write_text(row)
        assert load(posting, empty, more).events == 1
    assert counts(posting) == (2, 5)


def test_a_loan_that_exists_with_different_terms_is_an_error(posting, files):
    load(posting, *files())
    with pytest.raises(LoadRejected) as caught:
        load(posting, *files("1,2019-12-05,1000.00\n2,2019-12-06,2001\n", "1,fee,2020-01-01,1.00\n"))
    reason = "loan 2 already exists with different terms: initial_amt 2000.00, not 2001"
    assert [row.reason for row in caught.value.bad_rows] == [reason]


@pytest.mark.parametrize("which", [0, 1])
def test_a_missing_file_is_named(posting, files, which):
    paths = files()
    paths[which].unlink()
    with pytest.raises(LoadRejected, match=f"{paths[which].name}: No such file"):
        load(posting, *paths)


def test_a_folder_in_place_of_a_file_is_named(posting, files, tmp_path):
    with pytest.raises(LoadRejected, match="Is a directory"):
        load(posting, tmp_path, files()[1])


def test_an_interrupted_load_writes_nothing(settings, files):
    def interrupt(progress: Progress) -> None:
        if progress.step == "posting":
            raise KeyboardInterrupt

    with closing(connect(settings, "posting")) as connection:
        with pytest.raises(KeyboardInterrupt):
            load(connection, *files(), on_progress=interrupt)
        assert counts(connection) == (0, 0)


def test_large_files_are_posted_in_batches_to_the_same_ledger(posting, tmp_path, monkeypatch):
    monkeypatch.setattr("service.bulk_load.event_posting.BATCH_EVENTS", 70)
    paths = tmp_path / "loans.csv", tmp_path / "events.csv"
    write_sample(*paths, loans=30, events_per_loan=20)
    steps = []
    load(posting, *paths, on_progress=lambda progress: steps.append(progress.step))
    assert steps.count("posting") > 5
    assert counts(posting) == (30, 600)
    assert sql(posting, "SELECT count(*) FROM loans WHERE version <> 20") == [(0,)]


def test_every_step_reports_its_rows(posting, tmp_path, monkeypatch):
    monkeypatch.setattr("service.bulk_load.event_posting.BATCH_EVENTS", 70)
    paths = tmp_path / "loans.csv", tmp_path / "events.csv"
    write_sample(*paths, loans=30, events_per_loan=20)
    size = sum(path.stat().st_size for path in paths)
    reported = []
    load(posting, *paths, on_progress=reported.append)
    reading = [each for each in reported if each.step == "reading"]
    assert reading[-1] == Progress("reading", 630, size, size)
    assert [each.done for each in reading] == sorted(each.done for each in reading)
    assert [each for each in reported if each.step == "checking"] == [Progress("checking", 630)]
    posted = [(each.rows, each.done, each.total) for each in reported if each.step == "posting"]
    assert posted[0] == (0, 0, 600)
    assert posted[1][0] < 600
    assert posted[-1] == (600, 600, 600)


def test_events_of_a_loan_keep_the_order_of_the_file(posting, files):
    rows = "".join(f"{1 + n % 2},fee,2020-01-01,{n + 1}.00\n" for n in range(40))
    load(posting, *files(GOOD_LOANS, rows))
    found = sql(posting, "SELECT loan_id, amt::int FROM loan_events ORDER BY loan_id, tx_id")
    assert found == [*((1, n + 1) for n in range(0, 40, 2)), *((2, n + 1) for n in range(1, 40, 2))]


def test_two_loads_of_one_file_at_the_same_time_load_it_once(settings, files):
    paths, outcomes = files(), []

    def work() -> None:
        with closing(connect(settings, "posting")) as connection:
            try:
                outcomes.append(load(connection, *paths).events)
            except LoadRejected as err:
                outcomes.append("already" in str(err))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes, key=str) == [3, True, True, True]


def test_a_first_line_that_is_too_long_counts_as_one_line(posting, files):
    errors = bad_rows(posting, files(GOOD_LOANS, b"\xef\xbb\xbf" + b"x" * 5000 + b"\n1,gift,2020-01-01,1.00\n"))
    assert [error.split(":")[1] for error in errors] == ["1", "2"]


def test_a_reader_may_not_load(settings, files):
    with closing(connect(settings, "reader")) as connection:
        assert expect_error(connection, "INSERT INTO loaded_files VALUES ('', '', 0)").pgcode == "42501"


def test_the_sample_is_ten_loans_of_december_2019_with_a_hundred_events_in_2020():
    loans = list(sample_loans())
    assert [loan.loan_id for loan in loans] == list(range(1, 11))
    assert {(loan.start_date.year, loan.start_date.month) for loan in loans} == {(2019, 12)}
    events = [event for loan in loans for event in loan.events]
    assert len(events) == 100
    assert {day.year for _, day, _ in events} == {2020}
    assert {kind for kind, _, _ in events} == {"fee", "interest", "payment"}
    assert loans == list(sample_loans())
    assert loans != list(sample_loans(seed=2))


def test_the_balances_of_the_loaded_sample_are_the_sums_of_its_rows(settings, posting, tmp_path):
    paths = tmp_path / "loans.csv", tmp_path / "events.csv"
    write_sample(*paths)
    load(posting, *paths)
    database = ConnectionPool(settings)
    ledger = PostgresLedger(database)
    for loan in sample_loans():
        signed = [-cents if kind == "payment" else cents for kind, _, cents in loan.events]
        assert ledger.timelines([loan.loan_id])[loan.loan_id].balance_at(2**31 - 1) == loan.initial_cents + sum(signed)
    database.close()

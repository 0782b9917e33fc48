"""Schedules of loans in a third file: what is recorded, skipped and refused."""

from contextlib import closing
from datetime import date
from decimal import Decimal

import pytest

from native import arrears_at, day_number, payoff_at
from service.bulk_load.loader import load
from service.bulk_load.sample import write_sample
from service.ledger.repository import PostgresLedger
from service.postgres.pool import ConnectionPool
from tests.conftest import sql
from tests.integration.service.bulk_load.conftest import GOOD_EVENTS, GOOD_LOANS, bad_rows, counts

HEADER = "loan_id,effective_date,due_date,amt,source_id\n"
ROWS = (
    "1,2019-12-05,2020-02-05,60.00\n2,2019-12-06,2020-01-06,5\n1,2019-12-05,2020-01-05,50\n"
    "1,2020-03-01,2020-04-01,7.00\n1,2019-12-05,2020-02-05,61.00\n"
)
WITH_IDS = (
    HEADER + "1,2019-12-05,2020-01-05,50.00,S1\n1,2019-12-05,2020-02-05,60.00,S1\n1,2020-03-01,2020-04-01,7.00,S2\n"
)


@pytest.fixture
def schedules_file(tmp_path):
    """Return a function that writes a file of schedules and returns its path."""

    def write(rows: str | bytes):
        path = tmp_path / "schedules.csv"
        path.write_bytes(rows if isinstance(rows, bytes) else rows.encode())
        return path

    return write


@pytest.fixture
def with_schedules(files, schedules_file):
    """Return a function that writes three files and returns their paths."""
    return lambda rows, loans=GOOD_LOANS, events="": (*files(loans, events), schedules_file(rows))


def recorded(connection) -> list[tuple]:
    return sql(
        connection,
        "SELECT loan_id, version, effective_date::text, due_dates::text[], amts, source_id FROM loan_schedules"
        " ORDER BY loan_id, version",
    )


def numbers(loaded) -> tuple[int, int, int]:
    return loaded.schedules, loaded.skipped_schedules, loaded.events


def test_rows_of_a_loan_and_effective_date_make_one_schedule_before_the_events(posting, with_schedules):
    assert numbers(load(posting, *with_schedules(ROWS, events=GOOD_EVENTS), name="ann")) == (3, 0, 3)
    first = ["2020-01-05", "2020-02-05", "2020-02-05"]
    assert recorded(posting) == [
        (1, 1, "2019-12-05", first, [Decimal("50.00"), Decimal("60.00"), Decimal("61.00")], None),
        (1, 2, "2020-03-01", ["2020-04-01"], [Decimal("7.00")], None),
        (2, 1, "2019-12-06", ["2020-01-06"], [Decimal("5.00")], None),
    ]
    assert sql(posting, "SELECT version FROM loan_events WHERE loan_id = 1 ORDER BY 1") == [(3,), (4,)]
    assert sql(posting, "SELECT DISTINCT posted_by FROM loan_schedules") == [("loaner_posting (ann)",)]
    digests = sql(posting, "SELECT file, rows FROM loaded_files ORDER BY file")
    assert digests == [("events.csv", 3), ("loans.csv", 2), ("schedules.csv", 5)]


@pytest.mark.parametrize("rows", [ROWS, WITH_IDS])
def test_unchanged_files_do_nothing(posting, with_schedules, rows):
    made = numbers(load(posting, *with_schedules(rows)))[0]
    before = recorded(posting)
    assert numbers(load(posting, *with_schedules(rows))) == (0, made, 0)
    assert numbers(load(posting, *with_schedules(rows.replace("50.00", "50.0")))) == (0, made, 0)
    assert recorded(posting) == before


def test_another_schedule_of_the_same_date_is_recorded_after_the_first(posting, with_schedules):
    load(posting, *with_schedules(ROWS))
    changed = "1,2020-03-01,2020-04-01,8.00\n"
    assert numbers(load(posting, *with_schedules(changed))) == (1, 0, 0)
    assert numbers(load(posting, *with_schedules(changed))) == (0, 1, 0)
    assert recorded(posting)[2][1:5] == (3, "2020-03-01", ["2020-04-01"], [Decimal("8.00")])
    named = HEADER + "1,2020-03-01,2020-04-01,7.00,S9\n"  # the first one again
    assert numbers(load(posting, *with_schedules(named))) == (1, 0, 0)
    assert recorded(posting)[3][1:6] == (4, "2020-03-01", ["2020-04-01"], [Decimal("7.00")], "S9")


def test_schedules_that_differ_from_that_of_their_source_id_are_errors(posting, with_schedules):
    load(posting, *with_schedules(WITH_IDS))
    rows = (
        HEADER + "1,2019-12-05,2020-01-05,50.00,S1\n1,2019-12-05,2020-02-05,60.01,S1\n1,2020-03-02,2020-04-01,7.00,S2\n"
        "2,2020-03-02,2020-04-01,7.00,S3\n2,2020-03-02,2020-05-01,7.00,\n2,2020-04-02,2020-05-01,7.00,S3\n"
    )
    assert bad_rows(posting, with_schedules(rows)) == [
        "schedules.csv:2: source_id: loan 1 already has schedule 'S1', which differs: "
        "installment 2 is 2020-02-05 60.00, not 2020-02-05 60.01",
        "schedules.csv:4: source_id: loan 1 already has schedule 'S2', which differs: "
        "effective_date 2020-03-01, not 2020-03-02",
        "schedules.csv:6: source_id: expected the source_id of line 5, which belongs to the same schedule: 'S3'",
        "schedules.csv:7: source_id: loan 2 already has schedule 'S3' on line 5, which differs: "
        "effective_date 2020-03-02, not 2020-04-02",
    ]
    short = HEADER + "1,2019-12-05,2020-01-05,50.00,S1\n"
    assert bad_rows(posting, with_schedules(short)) == [
        "schedules.csv:2: source_id: loan 1 already has schedule 'S1', which differs: "
        "installment 2 is 2020-02-05 60.00, not none"
    ]
    # Its second row is invalid, so whether the schedule differs is not known.
    assert bad_rows(posting, with_schedules(short + "1,2019-12-05,2020-02-05,x,S1\n")) == [
        "schedules.csv:3: amt: expected an amount above zero, such as 1000.00, with at most 18 digits and 4 decimals, "
        "found 'x'"
    ]


def test_invalid_installments_are_named_by_line(posting, with_schedules):
    loans = "loan_id,start_date,initial_amt,currency\n1,2019-12-05,1000,JPY\n2,2019-12-05,1.00,USD\n3,x,1.00,USD\n"
    rows = (
        "1,2019-12-05,2020-01-05,1.5\n1,2019-12-05,2020-01-32,1\n1,2019-13-05,2020-01-31,1\n2,2019-12-05,2020-01-05,0\n"
        "2,2019-12-05,2020-02-05,10000000000000000\n9,2019-12-05,2020-01-05,1\n9,2019-12-05,2020-02-05,1\n"
        "3,2019-12-05,2020-02-05,1.005\n"
    )
    wrong_day = "expected a date that exists, written YYYY-MM-DD"
    assert bad_rows(posting, with_schedules(rows, loans)) == [
        "loans.csv:4: start_date: expected a date written YYYY-MM-DD, found 'x'",
        "schedules.csv:1: amt: expected at most 0 decimals (JPY), found '1.5'",
        f"schedules.csv:2: due_date: {wrong_day} (day is out of range for month), found '2020-01-32'",
        f"schedules.csv:3: effective_date: {wrong_day} (month must be in 1..12), found '2019-13-05'",
        "schedules.csv:4: amt: expected an amount above zero, such as 1000.00, with at most 18 digits and 4 decimals, "
        "found '0'",
        "schedules.csv:5: amt: expected an amount below 10000000000000000 (USD), found '10000000000000000'",
        "schedules.csv:6: loan_id: unknown loan 9",
    ]


def test_a_schedule_has_limits(posting, with_schedules):
    largest = "9999999999999999.99"
    rows = "".join(f"1,2019-12-05,2020-01-05,{largest}\n" for _ in range(10))
    assert bad_rows(posting, with_schedules(rows)) == [
        "schedules.csv:1: amt: the sum of this schedule of loan 1 would exceed what the ledger can store"
    ]
    rows = "".join("1,2019-12-05,2020-01-05,1.00\n" for _ in range(1200))
    assert numbers(load(posting, *with_schedules(rows))) == (1, 0, 0)
    assert bad_rows(posting, with_schedules(rows + "1,2019-12-05,2020-01-05,1.00\n")) == [
        "schedules.csv:1: due_date: expected at most 1200 installments of one schedule, found 1201"
    ]


def test_closed_periods_apply_to_effective_dates_and_the_latest_date_to_none(posting, admin, with_schedules):
    load(posting, *with_schedules(ROWS))
    sql(admin, "SELECT close_period('2020-01-31', 'reported')")
    rows = ROWS + "2,2020-01-31,2020-04-01,7.00\n2,2020-02-01,2020-01-01,7.00\n2,2020-02-01,2999-01-01,7.00\n"
    assert bad_rows(posting, with_schedules(rows)) == [
        "schedules.csv:6: effective_date: expected a date after 2020-01-31, until which the ledger is closed"
    ]
    rows = rows.replace("2,2020-01-31,2020-04-01,7.00\n", "")
    assert numbers(load(posting, *with_schedules(rows), latest_date=date(2020, 1, 1))) == (1, 3, 0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (ROWS.replace(",", ";"), "fields are separated by semicolons (';'); separate them by commas"),
        (ROWS.encode("utf-16"), "the file is UTF-16 text; save it as UTF-8"),
    ],
)
def test_other_formats_are_recognized(posting, with_schedules, content, reason):
    assert bad_rows(posting, with_schedules(content)) == [f"schedules.csv:1: file: {reason}"]


def test_schedules_are_posted_in_batches(posting, with_schedules, monkeypatch):
    monkeypatch.setattr("service.bulk_load.agreement_posting.BATCH_SCHEDULES", 1)
    reported = []
    load(posting, *with_schedules(ROWS, events=GOOD_EVENTS), on_progress=reported.append)
    assert [each.done for each in reported if each.step == "posting"] == [0, 2, 3, 6]
    assert len(recorded(posting)) == 3


def test_a_loaded_loan_has_its_payoff_and_arrears(settings, posting, with_schedules, tmp_path):
    loans = "loan_id,start_date,initial_amt,rate,day_count,grace_days\n1,2020-01-01,36500.00,0.10,ACT/365F,20\n"
    terms = tmp_path / "terms.csv"
    terms.write_text("loan_id,effective_date,rate,day_count\n1,2020-03-02,0.20,ACT/365F\n")
    rows = "1,2020-01-01,2020-03-01,1000.00\n1,2020-01-01,2020-02-01,400.00\n"
    load(posting, *with_schedules(rows, loans, "1,payment,2020-03-02,500.00\n"), terms=terms)
    with closing(ConnectionPool(settings)) as database:
        timeline = PostgresLedger(database).timelines([1])[1]
    assert timeline.version == 4
    assert payoff_at(timeline, day_number(date(2020, 3, 1)))[3:5] == (600_00, 37_100_00)
    assert payoff_at(timeline, day_number(date(2020, 3, 2)))[3:] == (610_00, 36_610_00, 19_73)
    late = arrears_at(timeline, day_number(date(2020, 3, 1)))
    assert (late.due, late.past_due, late.days) == (1400_00, 400_00, 29)
    paid = arrears_at(timeline, day_number(date(2020, 3, 2)))
    assert (paid.due, paid.past_due, paid.days) == (900_00, 900_00, 1)  # the second terms have no grace days


def test_sample_files_have_the_same_events_and_load_without_an_error(posting, tmp_path):
    plain = tmp_path / "plain_loans.csv", tmp_path / "plain_events.csv"
    paths = tmp_path / "loans.csv", tmp_path / "events.csv", tmp_path / "schedules.csv"
    write_sample(*plain, loans=40)
    write_sample(*paths[:2], loans=40, schedules_file=paths[2])
    assert plain[1].read_text() == paths[1].read_text()
    ends = [row.partition(",0.")[0] for row in paths[0].read_text().splitlines()[1:]]
    assert ends == plain[0].read_text().splitlines()
    loaded = load(posting, *paths)
    assert (loaded.loans, loaded.terms, loaded.schedules, loaded.events) == (40, 40, 40, 400)
    assert counts(posting) == (40, 400)
    assert sql(posting, "SELECT count(*) FROM loan_schedules WHERE cardinality(due_dates) = 12") == [(40,)]

"""The columnar file: it gives the same answers as SQL, and an update reads only changed loans."""

import errno
import os
import stat
import struct
from contextlib import suppress
from datetime import date
from decimal import Decimal
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.portfolio.columnar import ColumnarPortfolio
from service.portfolio.columnar_file import ColumnarFile, UnusableFile
from service.portfolio.columnar_writer import write_columnar_file
from service.portfolio.columns import Counts
from service.portfolio.csv import portfolio_csv
from service.portfolio.rows import Details, LoanBalance, Total
from service.portfolio.sync import refresh
from tests.conftest import sql
from tests.generated.test_equivalence import FEW
from tests.models.decimal_model import AMOUNTS, DAYS, EVENTS, FIRST, days, post

END = date(9999, 12, 31)
PARTS = Details(parts=True)


@FEW
@given(loans=st.lists(st.tuples(DAYS, AMOUNTS, EVENTS), max_size=3), again=EVENTS, day=DAYS, parts=st.booleans())
def test_answers_equal_those_of_sql_before_and_after_further_postings(
    posting, refreshed, by_sql, loans, again, day, parts
):
    for loan in loans:
        post(posting, *loan)
    for _ in (1, 2):
        columnar = ColumnarPortfolio(refreshed()[0])
        for one in (FIRST, day, END):
            details = Details(parts=parts)
            assert columnar.totals(one, details) == by_sql.totals(one, details=details)
            assert list(columnar.loans(one, details)) == [
                row for piece in by_sql.loans(one, details=details) for row in piece
            ]
        newest = post(posting, day, "7.00", again).loan_id
        if newest > 1:
            sql(posting, "SELECT post_events(%s, %s, %s::date[], %s)", [newest - 1], ["fee"], [FIRST], [1])


def test_only_changed_loans_are_read_again(posting, refreshed, path, monkeypatch):
    for number in range(5):
        post(posting, FIRST, f"{number}.00", [])
    first, is_rewritten = refreshed()
    assert (is_rewritten, len(first), stat.S_IMODE(path.stat().st_mode)) == (True, 5, 0o600)
    assert refreshed()[1] is False
    requested = []
    read = refresh.__globals__["_read_loans"]
    monkeypatch.setitem(
        refresh.__globals__, "_read_loans", lambda connection, ids: requested.append(ids) or read(connection, ids)
    )
    sql(posting, "SELECT post_events(%s, %s, %s::date[], %s)", [2, 4], ["fee"] * 2, ["2020-01-01"] * 2, [7, 8])
    sql(posting, "SELECT create_loans('{3000,6}', '{2020-01-01,2020-01-01}', '{1,1}', '{USD,EUR}')")
    second, is_rewritten = refreshed()
    assert (is_rewritten, requested) == (True, [[2, 4, 6, 3000]])
    assert list(second.columns.loan_ids) == [1, 2, 3, 4, 5, 6, 3000]
    assert list(second.columns.versions) == [0, 1, 0, 1, 0, 0, 0]
    assert second.currencies() == [("USD", 2)] * 5 + [("EUR", 2), ("USD", 2)]
    assert list(first.columns.versions) == [0] * 5  # an open file does not change
    assert os.listdir(path.parent) == [path.name]


def test_an_empty_ledger_has_no_totals_and_no_loans(refreshed):
    ledger, _ = refreshed()
    assert (len(ledger), ColumnarPortfolio(ledger).totals(END), list(ColumnarPortfolio(ledger).loans(END))) == (
        0,
        [],
        [],
    )


def test_a_damaged_or_foreign_file_is_recreated(posting, refreshed, path, admin, caplog):
    caplog.set_level("INFO")
    post(posting, FIRST, "5.00", [("fee", FIRST, "1.00", -1)])
    refreshed()
    whole = path.read_bytes()
    for content, message in (
        (b"", "damaged"),
        (whole[:3], "damaged"),
        (whole[:-1], "damaged"),
        (whole[:4] + b"\x63" + whole[5:], "damaged"),
        (sign_header(b"LNPF\2" + whole[5:]), "another release"),
        (sign_header(whole[:48] + b"9.9.9" + whole[53:]), "another database"),
        (flip(whole, 0), "damaged"),
        (flip(whole, 30), "damaged: the checksum of its header"),
        (flip(whole, 256 + 8), "damaged: the checksum of its column versions"),
        (flip(whole, len(whole) - 1), "damaged: the checksum of its column kinds"),  # those after it are empty
    ):
        path.write_bytes(content)
        caplog.clear()
        ledger, is_rewritten = refreshed()
        assert (is_rewritten, path.read_bytes(), len(ledger)) == (True, whole, 1)
        [record] = [record for record in caplog.records if record.name == "service.portfolio.sync"]
        assert message in record.getMessage()
        assert str(path) in record.getMessage()
    for content in (b"", whole[:100], whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(UnusableFile):
            ColumnarFile.open(path)


def test_the_command_replaces_a_damaged_file(command, path):
    before = command("--date", "2020-03-01", "--csv")
    whole = path.read_bytes()
    path.write_bytes(flip(whole, 256 + 8 * 3 * 3 + 8 * 4 * 4 + 1))  # the first running balance of three loans
    ran = command("--date", "2020-03-01", "--csv")
    assert (ran.exit_code, ran.stdout) == (0, before.stdout)
    assert path.read_bytes() == whole


def flip(content: bytes, position: int, bit: int = 0) -> bytes:
    return content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :]


def sign_header(content: bytes) -> bytes:
    """Return a file with the right checksum of its changed header."""
    return content[:252] + struct.pack("=I", crc32(content[:252])) + content[256:]


def test_a_foreign_file_is_not_changed(command, path):
    path.parent.mkdir()
    for content in (b"date,loan_id\r\n", b"x" * 1000, b"Lx"):
        path.write_bytes(content)
        ran = command("--date", "2020-03-01")
        assert (ran.exit_code, f"--file: {path} is not a portfolio file" in ran.output) == (1, True)
        assert path.read_bytes() == content


def test_an_interrupted_update_leaves_no_files(posting, refreshed, path, monkeypatch):
    post(posting, FIRST, "5.00", [])
    refreshed()
    before = path.read_bytes()
    sql(posting, "SELECT create_loans('{3000}', '{2020-01-01}', '{1}', '{USD}')")

    def fail(*_):
        raise RuntimeError("in the middle")

    monkeypatch.setitem(refresh.__globals__, "_read_loans", fail)
    with pytest.raises(RuntimeError):
        refreshed()
    assert (path.read_bytes(), os.listdir(path.parent)) == (before, [path.name])


def test_a_file_is_allocated_before_it_is_filled(path):
    """Without allocation, a full disk would kill the process (SIGBUS) and leave an incomplete file."""
    with suppress(UnusableFile), write_columnar_file(path, "c", Counts(100, 100_000, 0, 0, 0)):
        [file] = path.parent.iterdir()
        assert file.stat().st_blocks * 512 >= file.stat().st_size > 1_200_000


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system has no posix_fallocate")
def test_a_full_disk_is_reported_and_leaves_no_files(command, path, monkeypatch):
    def disk_full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", disk_full)
    ran = command("--date", "2020-03-01")
    assert (ran.exit_code, f"Error: --file: {path}: No space left on device" in ran.output) == (1, True)
    assert os.listdir(path.parent) == []


# The command


def test_the_command_prints_totals_of_days(command):
    for _ in (1, 2):
        ran = command("--date", "2019-12-05", "--date", "2020-03-01")
        assert ran.exit_code == 0, ran.output
        rows = [line.split() for line in ran.stdout.splitlines() if line.strip("│┃ ").startswith("20")]
        cells = [[cell for cell in row if cell not in ("│", "┃")] for row in rows]
        assert cells == [["2019-12-05", "USD", "1", "1000.00"], ["2020-03-01", "USD", "2", "399.55"]]


def test_the_csv_of_the_command_equals_that_of_the_service(command, client, bearer):
    ran = command("--date", "2020-03-01", "--csv")
    reply = client.get("/api/v1/portfolio/2020-03-01?format=csv", headers=bearer)
    assert ran.exit_code == 0
    assert ran.stdout_bytes.decode() == reply.text


def test_invalid_options_are_named(command, tmp_path):
    for arguments, message in (
        ([], "--date"),
        (["--date", "2021-02-29"], "a date that exists"),
        (["--date", "today"], "written YYYY-MM-DD"),
        (["--date", "2020-01-01", "--file", str(tmp_path)], "--file"),
        (["--date", "2020-01-01", "--file", "/proc/none/portfolio"], "--file"),
    ):
        ran = command(*arguments)
        assert ran.exit_code != 0
        assert message in ran.output
        assert "Traceback" not in ran.output


def test_one_file_answers_any_number_of_days(posting, refreshed, settings):
    loan = post(posting, FIRST, "100.00", [])
    columnar = ColumnarPortfolio(refreshed()[0])
    assert all(columnar.totals(day) == [Total("USD", 1, "100.00")] for day in days(loan.start_date, date(2020, 3, 1)))


# Currencies, parts and times


@pytest.fixture
def mixed(posting, admin):
    """Loans in currencies with 0, 2 and 3 decimals, and one in yen with 2, as releases before 1.1 created it."""
    post(posting, FIRST, "1000", [("fee", FIRST, "7", -1), ("payment", FIRST, "100", -1)], "JPY")
    post(posting, FIRST, "1.234", [("interest", FIRST, "0.005", -1)], "KWD")
    post(posting, FIRST, "10.50", [], "USD")
    sql(
        admin,
        "INSERT INTO loans (loan_id, start_date, initial_amt, currency, exponent) VALUES (4, %s, 1000.50, 'JPY', 2)",
        FIRST,
    )
    post(posting, FIRST, "5", [("fee", FIRST, "2", -1), ("fee", FIRST, "2", 0)], "JPY")


def test_amounts_have_the_decimals_of_each_loan_and_sums_are_exact(mixed, refreshed, by_sql):
    expected_totals = [
        Total("JPY", 3, "1912.50", ("0.00", "0.00", "1912.50")),
        Total("KWD", 1, "1.239", ("0.000", "0.005", "1.234")),
        Total("USD", 1, "10.50", ("0.00", "0.00", "10.50")),
    ]
    expected_loans = [
        LoanBalance(1, "907", "JPY", 2, ("0", "0", "907")),
        LoanBalance(2, "1.239", "KWD", 1, ("0.000", "0.005", "1.234")),
        LoanBalance(3, "10.50", "USD", 0, ("0.00", "0.00", "10.50")),
        LoanBalance(4, "1000.50", "JPY", 0, ("0.00", "0.00", "1000.50")),
        LoanBalance(5, "5", "JPY", 2, ("0", "0", "5")),
    ]
    columnar = ColumnarPortfolio(refreshed()[0])
    assert columnar.totals(END, PARTS) == by_sql.totals(END, details=PARTS) == expected_totals
    assert list(columnar.loans(END, PARTS)) == [row for piece in by_sql.loans(END, details=PARTS) for row in piece]
    assert list(columnar.loans(END, PARTS)) == expected_loans
    assert columnar.totals(END) == by_sql.totals(END) == [row._replace(parts=()) for row in expected_totals]
    rows = "".join(portfolio_csv(END, by_sql.loans(END, details=PARTS), PARTS)).splitlines()
    assert rows[-3:] == [
        "9999-12-31,,1912.50,JPY,,0.00,0.00,1912.50",
        "9999-12-31,,1.239,KWD,,0.000,0.005,1.234",
        "9999-12-31,,10.50,USD,,0.00,0.00,10.50",
    ]


@FEW
@given(
    loans=st.lists(st.tuples(DAYS, AMOUNTS, EVENTS), min_size=1, max_size=3),
    later=EVENTS,
    day=DAYS,
    parts=st.booleans(),
)
def test_a_reported_day_is_reproduced_exactly(posting, admin, refreshed, by_sql, loans, later, day, parts):
    known = [post(posting, *loan) for loan in loans]
    [(moment,)] = sql(admin, "SELECT known_until() - interval '1 microsecond'")
    details = Details(parts=parts)
    totals = ColumnarPortfolio(refreshed()[0]).totals(day, details)
    rows = list(ColumnarPortfolio(refreshed()[0]).loans(day, details))
    sql(posting, "SELECT post_events(%s, %s, %s::date[], %s)", [known[0].loan_id], ["fee"], [FIRST], [1])
    post(posting, day, "7.00", later)
    assert by_sql.totals(day, moment, details) == totals
    assert [row for piece in by_sql.loans(day, moment, details) for row in piece] == rows
    if parts:
        ours = {row.loan_id: tuple(map(Decimal, row.parts)) for row in rows}
        for loan in known:
            assert ours.get(loan.loan_id, (0, 0, 0)) == loan.parts(day)


def test_parts_are_read_in_batches(posting, by_sql, refreshed, monkeypatch):
    monkeypatch.setattr("service.portfolio.sql.LOANS_PER_BATCH", 2)
    for number in range(5):
        post(posting, FIRST, f"{number}.00", [("fee", FIRST, "1.00", -1)] * number)
    pieces = list(by_sql.loans(END, details=PARTS))
    assert [len(piece) for piece in pieces] == [2, 2, 1]
    assert [row for piece in pieces for row in piece] == list(ColumnarPortfolio(refreshed()[0]).loans(END, PARTS))


def test_the_command_with_parts_and_a_time_equals_the_service(command, client, bearer, posting, admin):
    [(moment,)] = sql(admin, "SELECT to_rfc3339(known_until() - interval '1 microsecond')")
    options = ("--date", "2020-03-01", "--csv", "--parts")
    before = command(*options)
    assert before.exit_code == 0, before.output
    assert before.stdout.startswith("date,loan_id,balance,currency,version,fees,interest,principal\n")
    sql(posting, "SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY['2020-01-01'::date], ARRAY[5.00])")
    assert command(*options).stdout != before.stdout
    again = command(*options, "--known-at", moment)
    assert (again.exit_code, again.stdout) == (0, before.stdout)
    query = {"format": "csv", "parts": "true", "known_at": moment}
    reply = client.get("/api/v1/portfolio/2020-03-01", query_string=query, headers=bearer)
    assert reply.data == before.stdout_bytes
    totals = command("--date", "2020-03-01", "--known-at", moment, "--parts")
    [row] = [line.split() for line in totals.stdout.splitlines() if line.strip("│┃ ").startswith("20")]
    sums = before.stdout.splitlines()[-1].split(",")
    assert [cell for cell in row if cell not in ("│", "┃")] == [sums[0], sums[3], "2", sums[2], *sums[5:]]


@pytest.mark.parametrize(
    ("known_at", "message"),
    [
        ("yesterday", "expected a time"),
        ("2026-01-01", "expected a time"),
        ("2026-01-01T00:00:00", "expected a time"),
        ("2026-02-30T00:00:00Z", "expected a time"),
        ("9000-01-01T00:00:00Z", "known_at is too recent"),
    ],
)
def test_an_invalid_time_is_named(command, path, known_at, message):
    ran = command("--date", "2020-03-01", "--known-at", known_at)
    assert ran.exit_code != 0
    assert "known" in ran.output
    assert message in ran.output
    assert "Traceback" not in ran.output
    assert not path.exists()


def test_before_the_first_recording_the_ledger_is_empty(command):
    ran = command("--date", "2020-03-01", "--known-at", "2001-01-01t00:00:00z", "--csv")
    assert (ran.exit_code, ran.stdout) == (0, "date,loan_id,balance,currency,version\n")

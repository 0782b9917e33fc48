"""Rows of CSV files: columns by their header, long lines, and the short way for common notations."""

import pytest

from service.bulk_load.csv_rows import MAX_LINE_BYTES, Rows
from service.bulk_load.formats import EVENTS, LOANS, SCHEDULES, TERMS

HEADER = "loan_id,event_type,post_date,amt,source_id,reverses_source_id,memo\n"


@pytest.fixture
def read(tmp_path):
    """Return a function that reads a file, and gives the rows that are loaded and those that are not."""

    def read(content: str | bytes, format=EVENTS):
        file = tmp_path / "rows.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        sizes = []
        rows = Rows(file, format, sizes.append)
        good = b"".join(rows).decode().splitlines()
        if rows.columns:
            assert sum(sizes) == file.stat().st_size
            assert rows.good == len(good)
        return good, [f"{row.line}: {row.field}: {row.reason}" for row in rows.bad]

    return read


def patterns(format, *names: str) -> bytes:
    return b",".join(format[name].plain for name in names or format)


def test_only_rows_in_the_common_notation_skip_the_full_validation(read, monkeypatch):
    monkeypatch.setattr(Rows, "_check", lambda self, number, line: b"checked")
    rows = ["1,fee,2020-01-31,1.00", "1,payment,2020-01-31,1", "1,fee,2020-01-31,0.50"]
    assert read("\n".join(rows))[0] == [f"{number},{row}" for number, row in enumerate(rows, start=1)]
    for row in ("1,fee,2020-01-31,0.00", "1,fee,2020-02-30,1", "0,fee,2020-01-31,1", "1,fee,2020-01-31,1.00001"):
        assert read(row)[0] == ["1,checked"]
    assert read("1,2020-01-31,0.00\n2,2020-01-31, 1", LOANS)[0] == ["1,1,2020-01-31,0.00", "2,checked"]
    for row in (
        "1,fee,2020-01-31,1.00,,,",
        "1,fee,2020-01-31,1.00,A 1,B-2,late receipt",
        "1,fee,2020-01-31,1.00,0,0,0",
    ):
        assert read(HEADER + row)[0] == [f"2,{row}"]
    for row in ("1,fee,2020-01-31,1.00,A1,B2,=1+1", '1,fee,2020-01-31,1.00,"A1",,', "1,fee,2020-01-31,0,1,1,1"):
        assert read(HEADER + row)[0] == ["2,checked"]


def test_rows_of_terms_and_schedules_in_the_common_notation_skip_the_full_validation(read, monkeypatch):
    monkeypatch.setattr(Rows, "_check", lambda self, number, line: b"checked")
    header = ",".join(LOANS) + "\n"
    for row in ("1,2020-01-31,5,USD,,,,", "1,2020-01-31,5,USD,0.125,30E/360,principal>interest>fees,30"):
        assert read(header + row, LOANS)[0] == [f"2,{row}"]
    for row in (
        "1,2020-01-31,5,USD,.1,ACT/ACT,,",
        "1,2020-01-31,5,USD,0.1,ACT,,",
        "1,2020-01-31,5,USD,0.1,ACT/ACT,fees,",
    ):
        assert read(header + row, LOANS)[0] == ["2,checked"]
    assert read("1,2020-01-31,0.1,ACT/ACT", TERMS)[0] == ["1,1,2020-01-31,0.1,ACT/ACT"]
    assert read("1,2020-01-31,,ACT/ACT", TERMS)[0] == ["1,checked"]
    assert read("1,2020-01-31,2020-02-29,1.00", SCHEDULES)[0] == ["1,1,2020-01-31,2020-02-29,1.00"]
    for row in ("1,2020-02-30,2020-02-29,1.00", "1,2020-02-29,2020-02-30,1.00", "1,2020-01-31,2020-02-29,0"):
        assert read(row, SCHEDULES)[0] == ["1,checked"]
    assert read("1,interest_credit,2020-01-31,1.00")[0] == ["1,1,interest_credit,2020-01-31,1.00"]


def test_columns_are_found_by_the_header_in_any_order(read):
    content = 'memo,AMT, loan_id ,post_date,event_type\n"a ""b"", c",1.00,1,2020-01-31,fee\n,2,1,2020-01-31,fee\n'
    good, bad = read(content)
    assert good == ['2,"a ""b"", c",1.00,1,2020-01-31,fee', "3,,2,1,2020-01-31,fee"]
    assert not bad
    assert read("currency,loan_id,start_date,initial_amt\nJPY,1,2020-01-31,5\n", LOANS) == (
        ["2,JPY,1,2020-01-31,5"],
        [],
    )


@pytest.mark.parametrize(
    ("header", "reasons"),
    [
        ("loan_id,event_type,post_date,amount", ["unknown column 'amount'", "column amt is missing"]),
        ("loan_id,event_type,post_date", ["column amt is missing"]),
        ("loan_id,event_type,post_date,amt,memo,memo", ["column memo occurs twice"]),
        ("loan_id,event_type,post_date,amt,", ["unknown column ''"]),
        ("\ufeffid,event_type,post_date,amt", ["unknown column 'id'", "column loan_id is missing"]),
        ("Loan no., kind", ["no column has a known name"]),
        ("Account1,Art,Datum,Betrag", ["no column has a known name"]),
    ],
)
def test_a_header_that_names_other_columns_is_rejected(read, header, reasons):
    good, bad = read(f"{header}\n1,fee,2020-01-31,1.00\n")
    assert not good
    columns = " (the columns are loan_id, event_type, post_date, amt, source_id, reverses_source_id, memo)"
    assert bad == [f"1: header: {reason}{columns}" for reason in reasons]


def test_a_file_without_a_header_has_the_classic_columns(read):
    assert read("1,fee,2020-01-31,1.00,A1\n") == (
        [], ["1: row: expected 4 fields (loan_id,event_type,post_date,amt), found 5"])  # fmt: skip
    assert read("1,2020-01-31,1.00,USD\n", LOANS) == (
        [], ["1: row: expected 3 fields (loan_id,start_date,initial_amt), found 4"])  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ("A\tB,,", "source_id: expected 1 to 200 printable characters, found 'A\\tB'"),
        (f"{'x' * 201},,", "source_id: expected 1 to 200 printable characters"),
        (",A\x00,", "reverses_source_id: expected 1 to 200 printable characters"),
        (",,=1+1", "memo: expected a memo that does not begin with =, +, - or @"),
        (",,@x", "memo: expected a memo that does not begin with =, +, - or @"),
        (f",,{'x' * 201}", "memo: expected 1 to 200 characters"),
        (',,"a\x07b"', "memo: expected 1 to 200 characters, without control characters"),
        (',,"two', "row: invalid CSV: unexpected end of data"),
        (",", "row: expected 7 fields"),
    ],
)
def test_invalid_optional_columns_are_reported(read, fields, error):
    good, bad = read(f"{HEADER}1,fee,2020-01-31,1.00,{fields}\n1,fee,2020-01-31,1.00,,,\n")
    assert good == ["3,1,fee,2020-01-31,1.00,,,"]
    assert len(bad) == 1
    assert bad[0].startswith(f"2: {error}")


@pytest.mark.parametrize("currency", ["", "usd", "US", "USDX", "$"])
def test_a_currency_has_three_capital_letters(read, currency):
    good, bad = read(f"loan_id,start_date,initial_amt,currency\n1,2020-01-31,1,{currency}\n", LOANS)
    assert not good
    assert bad == [f"2: currency: expected three capital letters, such as USD, found '{currency}'"]


def test_a_loan_with_an_invalid_row_is_remembered(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text(HEADER + "1,gift,2020-01-31,1,A1,,\n2,gift,2020-01-31,1,,,\nx,gift,2020-01-31,1,A3,,\n")
    rows = Rows(file, EVENTS)
    assert list(rows) == []
    assert rows.bad_loans == {1, 2}
    assert rows.bad_events == {(1, "A1")}


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("spaces", [4062, 4063, 4064, 65_000, 65_536, 200_000])
def test_a_line_that_is_too_long_is_an_error_and_never_cut(read, spaces, end):
    line = b"910000999,payment,2020-02-01," + b" " * spaces + b"1000.00"
    good, bad = read(b"1,fee,2020-01-31,1.00" + end + line + end + b"2,fee,2020-01-31,1.00" + end)
    if len(line + end) - 1 <= MAX_LINE_BYTES:
        assert good[1] == "2,910000999,payment,2020-02-01,1000.00"
        assert not bad
    else:
        assert bad == ["2: row: the line is longer than 4096 bytes"]
    assert (good[0], good[-1]) == ("1,1,fee,2020-01-31,1.00", "3,2,fee,2020-01-31,1.00")


def test_lines_are_whole_wherever_the_file_is_divided(read):
    for first in range(65_480, 65_540):
        head = b"1,fee,2020-01-31,1.00\r\n" * (first // 23) + b"\r\n" * ((first % 23) // 2)
        good, bad = read(head + b"12345,payment,2020-12-31,12345.67\r\n" * 3)
        assert not bad
        assert [row.partition(",")[2] for row in good[-3:]] == ["12345,payment,2020-12-31,12345.67"] * 3


def test_an_empty_file_has_no_rows(read):
    assert read("") == ([], [])
    assert read("\n\r\n\n") == ([], [])
    assert read(b"\xef\xbb\xbf") == ([], [])


def test_a_first_line_in_another_encoding_is_reported(read):
    assert read("loan_id,event_type\n".encode("utf-16"))[1][0] == "1: file: the file is UTF-16 text; save it as UTF-8"

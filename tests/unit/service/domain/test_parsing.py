"""Strict parsing of ids, dates, times, event types and memos."""

from datetime import UTC, date, datetime

import pytest

from service.domain.parsing import (
    parse_date,
    parse_event_type,
    parse_loan_id,
    parse_memo,
    parse_source_id,
    parse_time,
)
from service.domain.provenance import parse_reason, to_printable


@pytest.mark.parametrize(("text", "loan_id"), [("1", 1), ("007", 7), ("9223372036854775807", 2**63 - 1)])
def test_loan_ids_are_parsed(text, loan_id):
    assert parse_loan_id(text) == loan_id


@pytest.mark.parametrize("text", ["", "0", "-1", "1.0", "1_000", " 1", "x", "9223372036854775808", "1" * 5000, "١"])
def test_invalid_loan_ids_are_rejected(text):
    with pytest.raises(ValueError, match="expected a whole number"):
        parse_loan_id(text)


@pytest.mark.parametrize("text", ["0001-01-01", "2020-02-29", "9999-12-31"])
def test_dates_are_parsed(text):
    assert parse_date(text) == date.fromisoformat(text)


@pytest.mark.parametrize(
    "text",
    ["", "2021-02-30", "2021-13-01", "0000-01-01", "20210215", "2021-W07-1", "2021-2-5", "1613347200",
     "10000-01-01", "2021-02-15T00:00:00", " 2021-02-15", "２０２１-02-15"],
)  # fmt: skip
def test_invalid_dates_are_rejected(text):
    with pytest.raises(ValueError, match="expected a date"):
        parse_date(text)


def test_an_unknown_event_type_is_rejected():
    assert parse_event_type("fee") == "fee"
    with pytest.raises(ValueError, match="fee, interest, payment"):
        parse_event_type("gift")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("2020-07-01T12:00:00Z", (2020, 7, 1, 12)),
        ("2020-07-01t12:00:00z", (2020, 7, 1, 12)),
        ("2020-07-01T12:00:00-00:00", (2020, 7, 1, 12)),
        ("2020-07-01T00:30:00+01:00", (2020, 6, 30, 23, 30)),
        ("2020-07-01T12:00:00.5Z", (2020, 7, 1, 12, 0, 0, 500_000)),
        ("2020-07-01T12:00:00.123456Z", (2020, 7, 1, 12, 0, 0, 123_456)),
        ("2020-07-01T12:00:00.1234569Z", (2020, 7, 1, 12, 0, 0, 123_456)),
        ("2020-07-01T12:00:00.9999999999999999999999Z", (2020, 7, 1, 12, 0, 0, 999_999)),
        ("2020-07-01T12:00:00." + "0" * 5000 + "1Z", (2020, 7, 1, 12)),
        ("2016-12-31T23:59:60Z", (2016, 12, 31, 23, 59, 59, 999_999)),
        ("1990-12-31T15:59:60-08:00", (1990, 12, 31, 23, 59, 59, 999_999)),
        ("2017-01-01T05:29:60.7+05:30", (2016, 12, 31, 23, 59, 59, 999_999)),
        ("2020-07-01T23:59:59+23:59", (2020, 7, 1, 0, 0, 59)),
        ("9999-12-31T23:59:60Z", (9999, 12, 31, 23, 59, 59, 999_999)),
        ("9999-12-31T23:59:59.9999999Z", (9999, 12, 31, 23, 59, 59, 999_999)),
    ],
)
def test_times_of_rfc_3339_are_parsed_and_rounded_towards_the_past(text, parsed):
    assert parse_time(text) == datetime(*parsed, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2020-07-01", "2020-07-01T12:00Z", "2020-07-01T12:00:00", "2020-07-01 12:00:00Z",
        "2020-07-01T12:00:00 02:00", "2020-07-01T24:00:00Z", "2020-07-01T25:00:00Z", "2020-07-01T12:60:00Z",
        "2020-07-01T12:00:61Z", "2020-07-01T12:00:60Z", "2020-07-01T23:59:60Z", "2016-12-31T23:59:60+01:00",
        "2020-07-01T12:00:00.Z", "2020-07-01T12:00:00,5Z", "2020-07-01T12:00:00+24:00", "2020-07-01T12:00:00+01:60",
        "2020-07-01T12:00:00+0100", "2020-07-01T12:00:00+01", "2020-02-30T12:00:00Z", "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "20200701T120000Z", "2020-W27-3T12:00:00Z",
        "２０２０-07-01T12:00:00Z", "2020-07-01T12:00:00Z\n", " 2020-07-01T12:00:00Z", "2020-07-01T12:00:00ZZ",
    ],
)  # fmt: skip
def test_invalid_times_are_rejected(text):
    with pytest.raises(ValueError, match="expected a time such as"):
        parse_time(text)


@pytest.mark.parametrize(
    "text", ["why", "a = b", "5", "x" * 200, "Überweisung №5 – корр.", "\u00a0x", " x", "'=1+1", "a\u3000b"]
)
def test_memos_are_kept_unchanged(text):
    assert parse_memo(text) == text


@pytest.mark.parametrize(
    "text", ["", " ", "x" * 201, "a\nb", "a\rb", "a\tb", "a\x00b", "\tx", "\rx", "a\x85b", "a\u2028b"]
)
def test_memos_that_are_too_long_or_have_control_characters_are_rejected(text):
    with pytest.raises(ValueError, match="expected 1 to 200 characters, without control characters"):
        parse_memo(text)


@pytest.mark.parametrize("prefix", ["=", "+", "-", "@", " =", "\u00a0=", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_memos_that_a_spreadsheet_takes_for_a_formula_are_rejected(prefix):
    with pytest.raises(ValueError, match="does not begin with"):
        parse_memo(prefix + "SUM(A1)")


@pytest.mark.parametrize("text", ["", "  ", "x" * 201, "a\nb", "a\x00b"])
def test_invalid_source_ids_are_rejected(text):
    assert parse_source_id("invoice 1") == "invoice 1"
    with pytest.raises(ValueError, match="expected 1 to 200 printable characters"):
        parse_source_id(text)


@pytest.mark.parametrize("text", ["", " ", "x" * 1001, "a\nb"])
def test_invalid_reasons_are_rejected(text):
    assert parse_reason("month end") == "month end"
    with pytest.raises(ValueError, match="expected 1 to 1000 characters"):
        parse_reason(text)


@pytest.mark.parametrize(
    ("identity", "stored"),
    [
        ("ann@example.com", "ann@example.com"),
        ("Zoë", "Zoë"),
        ("a\x00b", "a\\x00b"),
        ("\ud800", "\\ud800"),
        ("", "(empty)"),
    ],
)
def test_identities_are_stored_in_printable_form(identity, stored):
    assert to_printable(identity) == stored

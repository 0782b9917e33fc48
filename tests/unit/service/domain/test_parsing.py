"""Strict parsing of amounts, ids, dates and event types."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.money import MAX_CENTS, to_cents, to_decimal_string
from service.domain.parsing import parse_date, parse_event_type, parse_loan_id


@given(st.integers(0, MAX_CENTS))
def test_amounts_round_trip(cents):
    assert to_cents(to_decimal_string(cents)) == cents


@pytest.mark.parametrize(
    ("cents", "text"), [(0, "0.00"), (5, "0.05"), (-5, "-0.05"), (-12345, "-123.45"), (10**18, "10000000000000000.00")]
)
def test_amounts_have_two_decimals(cents, text):
    assert to_decimal_string(cents) == text


@pytest.mark.parametrize(
    ("text", "cents"), [("1", 100), ("1.5", 150), ("001.05", 105), ("9999999999999999.99", MAX_CENTS)]
)
def test_amounts_are_parsed(text, cents):
    assert to_cents(text) == cents


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1.001", "1e3", "NaN", "Infinity", ".5", "1.", "1,5", "10000000000000000", "١"]
)
def test_invalid_amounts_are_rejected(text):
    with pytest.raises(ValueError, match="expected an amount"):
        to_cents(text)


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

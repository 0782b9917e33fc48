"""Amounts and currencies: exact, with as many decimals as ISO 4217 gives the currency."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.currency import MINOR_DIGITS, minor_digits
from service.domain.money import (
    MAX_DIGITS,
    MAX_MINOR_UNITS,
    parse_amount,
    parse_positive_amount,
    to_decimal_string,
    to_minor_units,
)

DIGITS = st.integers(0, MAX_DIGITS)


@given(st.integers(0, MAX_MINOR_UNITS), DIGITS)
def test_amounts_round_trip(amount, digits):
    assert to_minor_units(parse_amount(to_decimal_string(amount, digits)), digits) == amount


@pytest.mark.parametrize(
    ("amount", "digits", "text"),
    [
        (0, 2, "0.00"), (5, 2, "0.05"), (-5, 2, "-0.05"), (-12345, 2, "-123.45"), (10**18, 2, "10000000000000000.00"),
        (1000, 0, "1000"), (0, 0, "0"), (-1, 0, "-1"), (1234, 3, "1.234"), (-5, 3, "-0.005"), (12345, 4, "1.2345"),
    ],
)  # fmt: skip
def test_amounts_are_written_with_the_decimals_of_their_currency(amount, digits, text):
    assert to_decimal_string(amount, digits) == text


@pytest.mark.parametrize(
    ("text", "digits", "amount"),
    [
        ("1", 2, 100), ("1.5", 2, 150), ("001.05", 2, 105), ("9999999999999999.99", 2, MAX_MINOR_UNITS),
        ("1000", 0, 1000), ("999999999999999999", 0, MAX_MINOR_UNITS), ("1.234", 3, 1234), ("1.2", 3, 1200),
    ],
)  # fmt: skip
def test_amounts_are_parsed(text, digits, amount):
    assert to_minor_units(parse_amount(text), digits) == amount


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1.00001", "1e3", "NaN", "Infinity", ".5", "1.", "1,5", "1" * 19, "١", "1_0", " 1", "1\n"],
)
def test_invalid_amounts_are_rejected(text):
    with pytest.raises(ValueError, match="expected an amount"):
        parse_amount(text)


@pytest.mark.parametrize("text", ["0", "0.0000"])
def test_an_amount_of_zero_is_not_positive(text):
    assert parse_amount(text) == 0
    with pytest.raises(ValueError, match="above zero"):
        parse_positive_amount(text)


@pytest.mark.parametrize(
    ("text", "digits"), [("1000.50", 0), ("1000.0", 0), ("1.001", 2), ("1.000", 2), ("1.2345", 3), ("0.0001", 3)]
)
def test_more_decimals_than_the_currency_has_are_rejected(text, digits):
    with pytest.raises(ValueError, match=f"^expected at most {digits} decimals$"):
        to_minor_units(parse_amount(text), digits)


@pytest.mark.parametrize(("text", "digits"), [("10000000000000000", 2), ("1000000000000000", 3), ("9" * 18, 1)])
def test_an_amount_that_is_too_large_for_its_currency_is_rejected(text, digits):
    with pytest.raises(ValueError, match=r"expected an amount of at most 9+"):
        to_minor_units(Decimal(text), digits)


@pytest.mark.parametrize(
    ("code", "digits"),
    # CLDR's table differs for the last six.
    [("USD", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("UYW", 4), ("IQD", 3), ("LBP", 2), ("IRR", 2), ("AFN", 2)],
)
def test_digits_are_those_of_iso_4217(code, digits):
    assert minor_digits(code) == MINOR_DIGITS[code] == digits


@pytest.mark.parametrize("code", ["XAU", "XXX", "XTS", "XDR", "usd", "US", "", "ZZZ", "USDD", "DEM"])
def test_codes_without_minor_units_and_unknown_codes_are_rejected(code):
    with pytest.raises(ValueError, match="expected an ISO 4217 currency with minor units, such as USD"):
        minor_digits(code)

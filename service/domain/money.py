"""Conversion of amounts: decimal strings outside, integer minor units of a currency inside, never a float."""

import re
from decimal import Decimal

MAX_MINOR_UNITS = 10**18 - 1
MAX_DIGITS = 4
"""The most decimals that a currency has."""

_AMOUNT = re.compile(r"[0-9]{1,18}(\.[0-9]{1,4})?")
_NOTATION = "1000.00, with at most 18 digits and 4 decimals"


def to_decimal_string(amount: int, digits: int) -> str:
    """Return an amount with the decimals of its currency: "123.45" for 12345 with 2, "12345" with 0.

    Args:
        amount: Minor units.
        digits: The currency's number of decimals; see `service.domain.currency.minor_digits`.
    """
    if digits == 0:
        return str(amount)
    whole, rest = divmod(abs(amount), 10**digits)
    return f"{'-' if amount < 0 else ''}{whole}.{rest:0{digits}d}"


def parse_amount(text: str) -> Decimal:
    """Parse an amount whose currency is not known yet, such as "123.45", "123.4" or "123".

    Raises:
        ValueError: If the text is not such an amount. The message says what is expected.
    """
    if not _AMOUNT.fullmatch(text):
        raise ValueError(f"expected an amount such as {_NOTATION}")
    return Decimal(text)


def parse_positive_amount(text: str) -> Decimal:
    """Parse an amount above zero, as `parse_amount` does.

    Raises:
        ValueError: If the text is not such an amount. The message says what is expected.
    """
    if not _AMOUNT.fullmatch(text) or Decimal(text) == 0:
        raise ValueError(f"expected an amount above zero, such as {_NOTATION}")
    return Decimal(text)


def parse_signed_amount(text: str) -> Decimal:
    """Parse an amount that may be below zero, as `parse_amount` does.

    Raises:
        ValueError: If the text is not such an amount. The message says what is expected.
    """
    amount = parse_amount(text.removeprefix("-"))
    return -amount if text.startswith("-") else amount


def to_minor_units(amount: Decimal, digits: int) -> int:
    """Convert an amount to minor units, exactly.

    Args:
        amount: An amount that `parse_amount` returned.
        digits: The currency's number of decimals.

    Raises:
        ValueError: If the amount is written with more decimals, even if they are zeros, or is too large.
    """
    if amount.as_tuple().exponent < -digits:  # type: ignore[operator]  # neither NaN nor infinite
        raise ValueError(f"expected at most {digits} decimals")
    units = amount.scaleb(digits)
    if units > MAX_MINOR_UNITS:
        raise ValueError(f"expected an amount of at most {to_decimal_string(MAX_MINOR_UNITS, digits)}")
    return int(units)

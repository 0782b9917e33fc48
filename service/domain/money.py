"""Conversion of amounts: decimal strings outside, integer minor units (cents) inside, never a float."""

import re

MAX_CENTS = 10**18 - 1  # numeric(18, 2)


def to_decimal_string(cents: int) -> str:
    """Return an amount with two decimals, such as "123.45" for 12345."""
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{whole}.{rest:02d}"


def to_positive_cents(text: str) -> int:
    """Convert an amount above zero to cents, as `to_cents` does.

    Raises:
        ValueError: If the text is not such an amount. The message says what is expected.
    """
    cents = to_cents(text)
    if cents == 0:
        raise ValueError("expected an amount above zero")
    return cents


def to_cents(text: str) -> int:
    """Convert an amount such as "123.45", "123.4" or "123" to cents.

    Raises:
        ValueError: If the text is not such an amount. The message says what is expected.
    """
    match = re.fullmatch(r"([0-9]{1,16})(?:\.([0-9]{1,2}))?", text)
    if match is None:
        raise ValueError(f"expected an amount from 0 to {to_decimal_string(MAX_CENTS)} with at most two decimals")
    return int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))

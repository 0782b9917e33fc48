"""Amounts at the edges: decimal strings outside, integer minor units (cents) inside. Never a float."""

import re

MAX_CENTS = 10**18 - 1  # numeric(18, 2)


def to_decimal_string(cents: int) -> str:
    """12345 -> "123.45"; always two decimals."""
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{whole}.{rest:02d}"


def to_positive_cents(text: str) -> int:
    """As `to_cents`, of an amount above zero."""
    cents = to_cents(text)
    if cents == 0:
        raise ValueError("expected an amount above zero")
    return cents


def to_cents(text: str) -> int:
    """ "123.45", "123.4" or "123" -> cents. Raises: ValueError, which says what was expected."""
    match = re.fullmatch(r"([0-9]{1,16})(?:\.([0-9]{1,2}))?", text)
    if match is None:
        raise ValueError(f"expected an amount from 0 to {to_decimal_string(MAX_CENTS)} with at most two decimals")
    return int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))

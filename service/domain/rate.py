"""Conversion of annual rates: decimal strings outside, integers of 10^-8 inside, never a float."""

import re
from decimal import Decimal

from native import RATE_SCALE

MAX_RATE = 10
_RATE = re.compile(r"[0-9]{1,2}(\.[0-9]{1,8})?")


def parse_rate(text: str) -> int:
    """Parse an annual rate such as "0.045", from 0 to 10, with at most 8 decimals.

    Returns:
        The rate in units of 10^-8.

    Raises:
        ValueError: If the text is not such a rate. The message says what is expected.
    """
    if not _RATE.fullmatch(text) or Decimal(text) > MAX_RATE:
        raise ValueError(f"expected a rate from 0 to {MAX_RATE} with at most 8 decimals, such as 0.045 for 4.5 %")
    return int(Decimal(text) * RATE_SCALE)


def to_rate_string(rate: int) -> str:
    """Return a rate without trailing zeros: "0.045" for 4500000, "1" for 100000000.

    Args:
        rate: The rate in units of 10^-8.
    """
    whole, rest = divmod(rate, RATE_SCALE)
    return f"{whole}.{rest:08d}".rstrip("0").rstrip(".")


def to_percent(rate: int) -> str:
    """Return a rate in percent: "4.5" for 4500000.

    Args:
        rate: The rate in units of 10^-8.
    """
    return to_rate_string(100 * rate)

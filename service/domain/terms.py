"""The values that terms of a loan may have: their parsers, their codes in the core, and rates as text.

Each parser raises a ValueError whose message says what is expected.
"""

import re
from collections.abc import Mapping
from decimal import Decimal

from native import ALLOCATIONS, DAY_COUNTS, PARTS, RATE_SCALE
from service.domain.parsing import parse_choice

MAX_RATE = 10
RATE_DECIMALS = 8
MAX_GRACE_DAYS = 3650
_RATE = re.compile(rf"[0-9]{{1,2}}(\.[0-9]{{1,{RATE_DECIMALS}}})?")

DAY_COUNT_CODES: Mapping[str, int] = {name: code for code, name in enumerate(DAY_COUNTS)}
"""The code of each day count in the core."""
ALLOCATION_CODES: Mapping[tuple[str, ...], int] = {parts: code for code, parts in enumerate(ALLOCATIONS)}
"""The code of each order of allocation in the core."""

parse_day_count = parse_choice(DAY_COUNTS)
parse_part = parse_choice(PARTS)


def parse_rate(text: str) -> Decimal:
    """Parse a rate per year: "0.1" is 10 %."""
    if not _RATE.fullmatch(text) or Decimal(text) > MAX_RATE:
        bounds = f"from 0 to {MAX_RATE} with at most {RATE_DECIMALS} decimals"
        raise ValueError(f"expected a rate per year {bounds}, such as 0.10 for 10 %")
    return Decimal(text)


def to_rate_string(rate: int) -> str:
    """Return a rate per year without trailing zeros: "0.045" for 4500000.

    Args:
        rate: In units of 10^-8, as the core has it.
    """
    return format((Decimal(rate) / RATE_SCALE).normalize(), "f")


def to_percent(rate: int) -> str:
    """Return a rate per year in percent: "4.5" for 4500000.

    Args:
        rate: In units of 10^-8, as the core has it.
    """
    return to_rate_string(100 * rate)

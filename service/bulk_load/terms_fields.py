"""The fields of terms in a file. Each parser raises a ValueError whose message says what is expected."""

import re

import native
from native import DAY_COUNTS
from service.domain.parsing import parse_choice

MAX_GRACE_DAYS = 3650
ALLOCATIONS = tuple(">".join(parts) for parts in native.ALLOCATIONS)
"""The orders in which a payment may pay its parts."""
DEFAULT_ALLOCATION = ALLOCATIONS[0]

parse_day_count = parse_choice(DAY_COUNTS)
parse_allocation = parse_choice(ALLOCATIONS)


def parse_rate(text: str) -> str:
    """Return a valid rate per year unchanged: 0.1 is 10 %."""
    if not re.fullmatch(r"[0-9](\.[0-9]{1,8})?|10(\.0{1,8})?", text):
        raise ValueError("expected a rate per year from 0 to 10 with at most 8 decimals, such as 0.10 for 10 %")
    return text


def parse_grace_days(text: str) -> int:
    """Parse the number of days that an installment may be late."""
    if not re.fullmatch("[0-9]{1,4}", text) or int(text) > MAX_GRACE_DAYS:
        raise ValueError(f"expected a whole number from 0 to {MAX_GRACE_DAYS}")
    return int(text)

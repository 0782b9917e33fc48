"""Fields of terms that files write in their own way. Each parser raises a ValueError that says what is expected."""

import re

import native
from service.domain.parsing import parse_choice
from service.domain.terms import MAX_GRACE_DAYS

ALLOCATIONS = tuple(">".join(parts) for parts in native.ALLOCATIONS)
"""The orders in which a payment may pay its parts."""
DEFAULT_ALLOCATION = ALLOCATIONS[0]

parse_allocation = parse_choice(ALLOCATIONS)


def parse_grace_days(text: str) -> int:
    """Parse the number of days that an installment may be late."""
    if not re.fullmatch("[0-9]{1,4}", text) or int(text) > MAX_GRACE_DAYS:
        raise ValueError(f"expected a whole number from 0 to {MAX_GRACE_DAYS}")
    return int(text)

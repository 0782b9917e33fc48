"""The values that terms of a loan may have, and their parsers.

Each parser raises a ValueError whose message says what is expected.
"""

import re
from decimal import Decimal

from native import DAY_COUNTS
from service.domain.parsing import parse_choice

PARTS = ("fees", "interest", "principal")
MAX_RATE = 10
RATE_DECIMALS = 8
MAX_GRACE_DAYS = 3650
_RATE = re.compile(rf"[0-9]{{1,2}}(\.[0-9]{{1,{RATE_DECIMALS}}})?")

parse_day_count = parse_choice(DAY_COUNTS)
parse_part = parse_choice(PARTS)


def parse_rate(text: str) -> Decimal:
    """Parse a rate per year: "0.1" is 10 %."""
    if not _RATE.fullmatch(text) or Decimal(text) > MAX_RATE:
        bounds = f"from 0 to {MAX_RATE} with at most {RATE_DECIMALS} decimals"
        raise ValueError(f"expected a rate per year {bounds}, such as 0.10 for 10 %")
    return Decimal(text)

"""Buckets of loans by the number of days for which they are past due."""

from bisect import bisect_left
from typing import Literal, get_args

Bucket = Literal["current", "1-30", "31-60", "61-90", "91-120", "over 120"]
BUCKETS: tuple[Bucket, ...] = get_args(Bucket)
_LAST_DAYS = (0, 30, 60, 90, 120)


def bucket_of(days_past_due: int) -> Bucket:
    """Return the bucket of a number of days past due, 0 or above."""
    return BUCKETS[bisect_left(_LAST_DAYS, days_past_due)]

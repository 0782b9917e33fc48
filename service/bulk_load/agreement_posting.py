"""Posts the staged terms and schedules."""

from collections.abc import Iterator
from typing import Any

from service.bulk_load import schedule_staging, terms_staging
from service.bulk_load.batches import batches

# Records per call of the posting functions, as for events. A schedule has up to 1,200 installments.
BATCH_TERMS = 100_000
BATCH_SCHEDULES = 5_000


def post_terms(cursor: Any, terms: int, posted_by: str | None) -> Iterator[int]:
    """Post the terms, and yield the number of those of each batch.

    Args:
        cursor: A cursor.
        terms: How many there are.
        posted_by: None for the database's session user.
    """
    for after, until in batches(cursor, "staged_terms", terms, BATCH_TERMS):
        cursor.execute(terms_staging.POST, (after, until, posted_by))
        yield cursor.fetchone()[0]


def post_schedules(cursor: Any, schedules: int, posted_by: str | None) -> Iterator[int]:
    """Post the schedules, as `post_terms` does."""
    for after, until in batches(cursor, "staged_schedules", schedules, BATCH_SCHEDULES):
        cursor.execute(schedule_staging.POST, (after, until, posted_by))
        yield cursor.fetchone()[0]

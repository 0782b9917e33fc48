"""Posts the staged events."""

from collections.abc import Iterator
from datetime import date
from typing import Any

from service.bulk_load import staging
from service.bulk_load.batches import batches
from service.bulk_load.csv_rows import Rows

# Events per call of the posting function. Each call holds them in arrays, in the server's memory, and progress is known
# between calls.
BATCH_EVENTS = 100_000
# Columns that the file does not have are null instead of arrays of nulls.
_POST_EVENTS = """
    SELECT max(batch.events) FROM (
        SELECT count(*) AS events, array_agg(loan_id) AS loan_ids, array_agg(event_type) AS event_types,
               array_agg(post_date) AS post_dates, array_agg(amt) AS amts, {source_ids} AS source_ids,
               {reversed_ids} AS reversed_ids, {memos} AS memos
        FROM ({rows} WHERE s.loan_id > %s AND s.loan_id <= %s AND s.follows = %s ORDER BY s.loan_id, s.line) AS ordered
        HAVING count(*) > 0
    ) AS batch, append_events(batch.loan_ids, batch.event_types, batch.post_dates, batch.amts, batch.source_ids,
                              batch.reversed_ids, batch.memos, %s, %s::date)
"""
_ROWS = "SELECT s.* FROM staged_events AS s"
_ROWS_WITH_REVERSALS = """
    SELECT s.*, e.tx_id AS reversed_id FROM staged_events AS s
    LEFT JOIN loan_events AS e ON e.loan_id = s.loan_id AND e.source_id = s.reverses_source_id
"""


def post_events(cursor: Any, rows: Rows, posted_by: str | None, latest_date: date | None) -> Iterator[int]:
    """Post the events, and yield the number of those of each batch.

    Args:
        cursor: A cursor.
        rows: The file of the events.
        posted_by: None for the database's session user.
        latest_date: The latest date of an event; None for any.
    """
    query = _POST_EVENTS.format(
        source_ids="array_agg(source_id)" if "source_id" in rows.columns else "NULL::text[]",
        reversed_ids="array_agg(reversed_id)" if "reverses_source_id" in rows.columns else "NULL::bigint[]",
        memos="array_agg(memo)" if "memo" in rows.columns else "NULL::text[]",
        rows=_ROWS_WITH_REVERSALS if "reverses_source_id" in rows.columns else _ROWS,
    )
    waves = [False]
    if "reverses_source_id" in rows.columns:
        cursor.execute(staging.MARK_FOLLOWING)
        waves = [False, True] if cursor.rowcount else waves
    for after, until in batches(cursor, "staged_events", rows.good, BATCH_EVENTS):
        posted = 0
        for follows in waves:
            cursor.execute(query, (after, until, follows, posted_by, latest_date))
            posted += cursor.fetchone()[0] or 0
        yield posted

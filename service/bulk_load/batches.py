"""Splits a staged table into batches of whole loans."""

from collections.abc import Iterator
from typing import Any

_BATCH_END = """
    SELECT max(loan_id) FROM (SELECT loan_id FROM {table} WHERE loan_id > %s ORDER BY loan_id LIMIT %s) AS batch
"""


def batches(cursor: Any, table: str, rows: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of loan ids of batches: from above the first id to the second one.

    Args:
        cursor: A cursor.
        table: A table with a column `loan_id`.
        rows: About how many rows it has.
        size: How many rows make a batch; a loan with more is one batch.
    """
    if rows > size:
        cursor.execute(f"CREATE INDEX ON {table} (loan_id)")
    after = 0
    while True:
        cursor.execute(_BATCH_END.format(table=table), (after, size))
        (until,) = cursor.fetchone()
        if until is None:
            return
        yield after, until
        after = until

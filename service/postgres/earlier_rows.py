"""Rows of earlier releases that the present rules would refuse. They stay as they are; `migrate` lists them."""

from collections.abc import Iterator
from typing import Any

MAX_LISTED = 100
"""How many rows of a kind are named one by one."""

_TWO_DECIMALS = """
    SELECT l.loan_id, l.currency, c.exponent, count(*) OVER ()
    FROM public.loans AS l LEFT JOIN public.currencies AS c ON c.code = l.currency
    WHERE l.exponent IS DISTINCT FROM c.exponent
    ORDER BY l.loan_id LIMIT %s
"""
_EARLY_REVERSALS = """
    SELECT r.loan_id, r.tx_id, r.post_date, e.tx_id, e.post_date, count(*) OVER ()
    FROM public.loan_events AS r JOIN public.loan_events AS e ON e.loan_id = r.loan_id AND e.tx_id = r.reverses
    WHERE r.reverses IS NOT NULL AND r.post_date < e.post_date
    ORDER BY r.loan_id, r.tx_id LIMIT %s
"""


def find_earlier_rows(cursor: Any) -> Iterator[str]:
    """Yield a line about each row that the present rules would refuse."""
    cursor.execute(_TWO_DECIMALS, (MAX_LISTED,))
    rows = cursor.fetchall()
    for loan_id, currency, exponent, _ in rows:
        if exponent is None:
            reason = "ISO 4217 gives the currency none"
        else:
            reason = f"ISO 4217 gives the currency {exponent}, which its amounts or their sum do not fit"
        yield f"loan {loan_id} in {currency} keeps 2 decimals: {reason}"
    yield from _rest(rows, "loans keep 2 decimals")
    cursor.execute(_EARLY_REVERSALS, (MAX_LISTED,))
    rows = cursor.fetchall()
    for loan_id, tx_id, day, reversed_id, reversed_day, _ in rows:
        yield (
            f"loan {loan_id}: reversal {tx_id} is dated {day}, before event {reversed_id} of {reversed_day}, which it "
            "reverses; it keeps its effect"
        )
    yield from _rest(rows, "reversals are dated before their events")


def _rest(rows: list[tuple[Any, ...]], what: str) -> Iterator[str]:
    if rows and rows[0][-1] > len(rows):
        yield f"{rows[0][-1]} {what} in all; the first {len(rows)} are listed"

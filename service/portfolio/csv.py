"""Writes a portfolio as CSV (RFC 4180)."""

from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from operator import add

from native import PARTS
from service.portfolio.rows import LoanBalance

FIELDS = ("date", "loan_id", "balance", "currency", "version")
HEAD = ",".join(FIELDS) + "\r\n"
HEAD_WITH_PARTS = ",".join((*FIELDS, *PARTS)) + "\r\n"


def portfolio_csv(day: date, pieces: Iterable[Iterable[LoanBalance]]) -> Iterator[str]:
    """Yield the rows below HEAD: one piece of text for each piece of loans, then the sums.

    If the loans have parts, the rows belong below HEAD_WITH_PARTS. A sum is a row without a loan id, one for each
    currency. Their presence shows that the file is complete.
    """
    sums: dict[str, list[Decimal]] = {}
    for piece in pieces:
        rows = []
        for loan_id, balance, currency, version, parts in piece:
            rows.append(_row(day, loan_id, balance, currency, version, *parts))
            # Decimals of the default context are exact up to 28 digits; sums have fewer.
            amounts = [Decimal(balance), *map(Decimal, parts)]
            before = sums.get(currency)
            sums[currency] = amounts if before is None else [*map(add, before, amounts)]
        yield "".join(rows)
    yield "".join(_row(day, "", sums[name][0], name, "", *sums[name][1:]) for name in sorted(sums))


def _row(*fields: object) -> str:
    # No field can contain a comma, a quotation mark or a line break, so none needs quotes.
    return ",".join(map(str, fields)) + "\r\n"

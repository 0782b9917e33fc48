"""Writes a portfolio as CSV (RFC 4180)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal

from service.portfolio.rows import LoanBalance

FIELDS = ("date", "loan_id", "balance", "currency", "version")
HEAD = ",".join(FIELDS) + "\r\n"


def portfolio_csv(day: date, pieces: Iterable[Iterable[LoanBalance]]) -> Iterator[str]:
    """Yield the rows below HEAD: one piece of text for each piece of loans, then the sums.

    A sum is a row without a loan id, one for each currency. Their presence shows that the file is complete.
    """
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for piece in pieces:
        rows = []
        for loan_id, balance, currency, version in piece:
            rows.append(_row(day, loan_id, balance, currency, version))
            sums[currency] += Decimal(balance)
        yield "".join(rows)
    yield "".join(_row(day, "", sums[currency], currency, "") for currency in sorted(sums))


def _row(*fields: object) -> str:
    # No field can contain a comma, a quotation mark or a line break, so none needs quotes.
    return ",".join(map(str, fields)) + "\r\n"

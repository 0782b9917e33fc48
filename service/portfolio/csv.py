"""What each loan owed on a day, as CSV (RFC 4180)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal

from service.portfolio.rows import Owed

FIELDS = ("date", "loan_id", "balance", "currency", "version")
HEAD = ",".join(FIELDS) + "\r\n"


def portfolio_csv(day: date, pieces: Iterable[Iterable[Owed]]) -> Iterator[str]:
    """What stands under HEAD: a row for each loan, in as many pieces; then one without a loan for each currency, with
    the sum. Whoever reads can tell by these that nothing is missing."""
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for piece in pieces:
        rows = []
        for loan_id, balance, currency, version in piece:
            rows.append(_row(day, loan_id, balance, currency, version))
            sums[currency] += Decimal(balance)
        yield "".join(rows)
    yield "".join(_row(day, "", sums[currency], currency, "") for currency in sorted(sums))


def _row(*fields: object) -> str:
    # none of them holds a comma, a quotation mark or an end of a line: there is nothing to quote
    return ",".join(map(str, fields)) + "\r\n"

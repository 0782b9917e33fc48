"""What each loan owed on a day, as CSV (RFC 4180)."""

from collections.abc import Iterable
from datetime import date

from service.portfolio.answer import Owed

FIELDS = ("date", "loan_id", "balance", "currency", "version")
HEAD = ",".join(FIELDS) + "\r\n"


def rows_of(day: date, owed: Iterable[Owed]) -> str:
    """A row for each loan, under HEAD."""
    # no field holds a comma, a quotation mark or an end of a line: there is nothing to quote
    return "".join(
        f"{day},{loan_id},{balance},{currency},{version}\r\n" for loan_id, balance, currency, version in owed
    )

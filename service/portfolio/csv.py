"""Writes a portfolio as CSV (RFC 4180)."""

from collections.abc import Iterable, Iterator
from datetime import date

from native import PARTS
from service.portfolio.rows import BALANCES, Details, LoanBalance, Total
from service.portfolio.sums import Sums

FIELDS = ("date", "loan_id", "balance", "currency", "version")
PAYOFF_FIELDS = ("interest_uncharged", "payoff")
ARREARS_FIELDS = ("past_due", "days_past_due", "bucket")
COUNT_FIELDS = ("loans", "errors")


def csv_head(details: Details = BALANCES) -> str:
    """Return the row of names. What is requested comes last."""
    fields = [*FIELDS]
    for is_requested, names in (
        (details.parts, PARTS),
        (details.payoff, PAYOFF_FIELDS),
        (details.arrears, ARREARS_FIELDS),
        (details.can_fail, COUNT_FIELDS),
    ):
        fields += names if is_requested else ()
    return _row(*fields)


def portfolio_csv(day: date, pieces: Iterable[Iterable[LoanBalance]], details: Details = BALANCES) -> Iterator[str]:
    """Yield the rows below the head: one piece of text for each piece of loans, then the sums.

    A sum is a row without a loan id. With arrears, there is one for each bucket of each currency. Then follows one for
    each currency. Their presence shows that the file is complete.
    """
    sums = Sums(details)
    for piece in pieces:
        rows = []
        for loan in piece:
            loan_id, balance, currency, version, parts, payoff, arrears, errors = loan
            counts = ("", errors) if details.can_fail else ()
            rows.append(_row(day, loan_id, balance, currency, version, *parts, *payoff, *arrears, *counts))
            sums.include_loan(loan)
        yield "".join(rows)
    totals = sums.totals()
    buckets = (bucket for total in totals for bucket in total.buckets)
    yield "".join(_total_row(day, total, details) for total in (*buckets, *totals))


def _total_row(day: date, total: Total, details: Details) -> str:
    arrears = (*total.arrears, "", total.bucket) if details.arrears else ()
    counts = (total.loans, total.errors) if details.can_fail else ()
    return _row(day, "", total.balance, total.currency, "", *total.parts, *total.payoff, *arrears, *counts)


def _row(*fields: object) -> str:
    # No field can contain a comma, a quotation mark or a line break, so none needs quotes.
    return ",".join(map(str, fields)) + "\r\n"

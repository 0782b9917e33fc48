"""A loan's balance over time."""

from typing import Literal

from flask import Response
from flask_openapi3 import APIBlueprint
from pydantic import BaseModel, Field

from service.domain.history import balance_points
from service.domain.money import to_decimal_string
from service.ledger.reader import BalanceReader
from service.web.schemas.ledger_reply import LedgerReply, ledger_reply
from service.web.schemas.loan_query import REFUSALS, DateRangeQuery, LoanPath, ledger_of, resolve_date_range
from service.web.schemas.query_fields import Currency, Day, LoanId, Money, Step, Version


class HistoryQuery(DateRangeQuery):
    """And how closely to look."""

    step: Step = "change"


class Point(BaseModel):
    """What was owed at the end of a day."""

    date: Day
    balance: Money


class HistoryReply(LedgerReply):
    """What a loan owed over a span of days."""

    loan_id: LoanId
    currency: Currency
    version: Version
    first: Day = Field(alias="from")
    last: Day = Field(alias="to")
    step: Literal["change", "day", "month"]
    balances: list[Point]


def add_history(routes: APIBlueprint, reader: BalanceReader) -> None:
    """Add the route to a blueprint."""

    @routes.get(
        "/api/v1/loan/<loan_id>/history",
        summary="The balance over time",
        responses={200: HistoryReply, **REFUSALS},
    )
    def history(path: LoanPath, query: HistoryQuery) -> Response:
        """What the loan owed at the end of days from `from` to `to`, both included: on the first day and each one on
        which that changed, on every day, or on the last day of each month and the last one of all. At most 10,000
        points."""
        known = ledger_of(reader, path, query)
        span = resolve_date_range(reader, known, query)
        return ledger_reply(
            reader,
            known,
            {
                "loan_id": path.loan_id,
                "currency": known.timeline.currency,
                "version": known.timeline.version,
                "from": span.first.isoformat(),
                "to": span.last.isoformat(),
                "step": query.step,
                "balances": [
                    {"date": day.isoformat(), "balance": to_decimal_string(balance)}
                    for day, balance in balance_points(known.timeline, span, query.step)
                ],
            },
        )

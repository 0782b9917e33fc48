"""A loan's balance over time."""

from typing import Literal

from flask import Response
from flask_openapi3 import APIBlueprint
from pydantic import BaseModel, Field

from service.domain.calendar import Calendar
from service.domain.history import balance_points
from service.domain.money import to_decimal_string
from service.ledger.timeline_lookup import TimelineLookup
from service.web.schemas.loan_query import REFUSALS, DateRangeQuery, LoanPath, get_snapshot, resolve_date_range
from service.web.schemas.query_fields import Currency, Day, LoanId, Money, Step, Version
from service.web.schemas.replies import LedgerReply, ledger_reply


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


def add_history(routes: APIBlueprint, lookup: TimelineLookup, calendar: Calendar) -> None:
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
        snapshot = get_snapshot(lookup, path, query)
        span = resolve_date_range(calendar, snapshot, query)
        return ledger_reply(
            lookup,
            snapshot,
            {
                "loan_id": path.loan_id,
                "currency": snapshot.timeline.currency,
                "version": snapshot.timeline.version,
                "from": span.first.isoformat(),
                "to": span.last.isoformat(),
                "step": query.step,
                "balances": [
                    {"date": day.isoformat(), "balance": to_decimal_string(balance)}
                    for day, balance in balance_points(snapshot.timeline, span, query.step)
                ],
            },
        )

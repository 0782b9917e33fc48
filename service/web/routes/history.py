"""Route: the balance of a loan over time."""

from typing import Literal

from flask import Response
from flask_openapi3 import APIBlueprint
from pydantic import Field

from native import day_number
from service.domain.calendar import Calendar
from service.domain.history import balance_points
from service.domain.money import to_decimal_string
from service.errors import InvalidRequest
from service.ledger.timeline_lookup import TimelineLookup
from service.web.payoff_members import settlement_members
from service.web.schemas.content_negotiation import json_or_csv
from service.web.schemas.headers import LOAN_HEADERS
from service.web.schemas.loan_query import COMMON_RESPONSES, DateRangeQuery, LoanPath, get_snapshot, resolve_date_range
from service.web.schemas.problem import problems
from service.web.schemas.query_fields import Currency, Day, Format, LoanId, Money, Step, Version
from service.web.schemas.replies import LoanLedgerReply
from service.web.schemas.settlement import Settlement, SettlementQuery
from service.web.schemas.table_reply import Table, json_or_csv_reply

MAX_STEPS = 10_000_000
"""The number of points times events of a history with payoff or arrears: each point takes a walk over the events."""

LOAN_COLUMNS = ("loan_id", "currency", "version")
_CSV_EXAMPLE = (
    f"{','.join(LOAN_COLUMNS)},date,balance\r\n1,USD,10,2020-06-30,9747.15\r\n1,USD,10,2020-07-01,9636.65\r\n"
)


class HistoryQuery(DateRangeQuery, SettlementQuery):
    """Query parameters: state of the loan, date range, step, payoff, arrears and format."""

    step: Step = "change"
    format: Format = None


class Point(Settlement):
    """The balance at the end of a day."""

    date: Day
    balance: Money


class HistoryReply(LoanLedgerReply):
    """The balances of a loan over a date range."""

    model_config = json_or_csv(_CSV_EXAMPLE, LOAN_HEADERS)

    loan_id: LoanId
    currency: Currency
    version: Version
    first: Day = Field(alias="from")
    last: Day = Field(alias="to")
    step: Literal["change", "day", "month"]
    balances: list[Point]


def add_history_route(routes: APIBlueprint, lookup: TimelineLookup, calendar: Calendar) -> None:
    """Add the route to a blueprint."""

    @routes.get(
        "/api/v1/loan/<loan_id>/history",
        summary="Get the balance history of a loan",
        responses={200: HistoryReply, **COMMON_RESPONSES, **problems(422)},
    )
    def history(path: LoanPath, query: HistoryQuery) -> Response:
        """Return the balances at the end of days from `from` to `to`, both included.

        `step` selects the days. A history has at most 10,000 points. With `step=change`, the days are those on which
        the balance changed, although a payoff changes with each day's interest.

        `text/csv`, selected by `Accept` or `format`, has a row for each point.
        """
        snapshot = get_snapshot(lookup, path, query)
        date_range = resolve_date_range(calendar, snapshot, query)
        points = balance_points(snapshot.timeline, date_range, query.step)
        if (query.payoff or query.arrears) and len(points) * len(snapshot.timeline) > MAX_STEPS:
            expected = f"expected at most {MAX_STEPS} points times events with payoff or arrears"
            raise InvalidRequest([("step", f"{expected}: use a shorter date range or a longer step")])
        balances = [
            {
                "date": day.isoformat(),
                "balance": to_decimal_string(balance, snapshot.timeline.exponent),
                **settlement_members(snapshot.timeline, day_number(day), query),
            }
            for day, balance in points
        ]
        members = {
            "loan_id": path.loan_id,
            "currency": snapshot.timeline.currency,
            "version": snapshot.timeline.version,
            "from": date_range.first.isoformat(),
            "to": date_range.last.isoformat(),
            "step": query.step,
            "balances": balances,
        }
        table = Table(
            f"loan-{path.loan_id}-history-{date_range.first}-{date_range.last}",
            (*LOAN_COLUMNS, *balances[0]),  # there is always one: for the first day, or for the last
            (members | point for point in balances),
        )
        return json_or_csv_reply(query.format, members, table, lookup.as_of(snapshot), snapshot.timeline.version)

"""What loans owe."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import Field

from native import to_date
from service.domain.calendar import Calendar
from service.domain.money import to_decimal_string
from service.ledger.timeline_lookup import TimelineLookup
from service.portfolio.sql import SqlPortfolio
from service.web.routes.balance import add_balance
from service.web.routes.balance_batch import add_balance_batch
from service.web.routes.history import add_history
from service.web.routes.portfolio import add_portfolio
from service.web.routes.statement import add_statement
from service.web.schemas.loan_query import REFUSALS, LoanPath, LoanQuery, get_snapshot
from service.web.schemas.query_fields import Currency, Day, LoanId, Money, Version
from service.web.schemas.replies import LedgerReply, ledger_reply
from service.web.serializers import balance_members


class LoanReply(LedgerReply):
    """A loan's terms, and what it owes today."""

    loan_id: LoanId
    start_date: Day
    initial_amt: Money
    currency: Currency
    date: Day = Field(description="today, in the service's time zone")
    balance: Money
    version: Version


def loan_routes(lookup: TimelineLookup, calendar: Calendar, portfolio: SqlPortfolio) -> APIBlueprint:
    """The blueprint `loan`, answered by `reader` and `portfolio`."""
    routes = APIBlueprint("loan", __name__, abp_tags=[Tag(name="loans", description="What loans owe, on any day")])

    add_balance(routes, lookup)

    @routes.get(
        "/api/v1/loan/<loan_id>",
        summary="A loan's terms and today's balance",
        responses={200: LoanReply, **REFUSALS},
    )
    def loan(path: LoanPath, query: LoanQuery) -> Response:
        """What was agreed, and what is owed today."""
        snapshot = get_snapshot(lookup, path, query)
        terms = {
            "start_date": to_date(snapshot.timeline.start_day).isoformat(),
            "initial_amt": to_decimal_string(snapshot.timeline.initial),
        }
        return ledger_reply(
            lookup, snapshot, terms | balance_members(snapshot.timeline, calendar.today(query.known_at))
        )

    add_history(routes, lookup, calendar)
    add_statement(routes, lookup, calendar)
    add_balance_batch(routes, lookup)
    add_portfolio(routes, portfolio)
    return routes

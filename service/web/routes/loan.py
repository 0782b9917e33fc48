"""Routes: loans and their balances."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import Field

from native import to_date
from service.domain.calendar import Calendar
from service.domain.money import to_decimal_string
from service.ledger.agreement_log import AgreementLog
from service.ledger.event_log import EventLog
from service.ledger.loan_search import LoanSearch
from service.ledger.timeline_lookup import TimelineLookup
from service.portfolio.sql import SqlPortfolio
from service.web.routes.agreements import add_agreement_routes
from service.web.routes.arrears import add_arrears_route
from service.web.routes.balance import add_balance_routes
from service.web.routes.balance_batch import add_balance_batch_route
from service.web.routes.events import add_events_route
from service.web.routes.history import add_history_route
from service.web.routes.loans import add_loans_route
from service.web.routes.payoff import add_payoff_route
from service.web.routes.portfolio import add_portfolio_route
from service.web.routes.statement import add_statement_route
from service.web.schemas.loan_query import COMMON_RESPONSES, LoanPath, LoanQuery, get_snapshot
from service.web.schemas.query_fields import Currency, Day, LoanId, Money, Version
from service.web.schemas.replies import LoanLedgerReply, ledger_reply
from service.web.serializers import balance_members


class LoanReply(LoanLedgerReply):
    """A loan's terms and its balance today."""

    loan_id: LoanId
    start_date: Day
    initial_amt: Money
    currency: Currency
    date: Day = Field(description="Today, in the service's time zone.")
    balance: Money
    version: Version


def build_loan_routes(
    lookup: TimelineLookup,
    calendar: Calendar,
    portfolio: SqlPortfolio,
    event_log: EventLog,
    agreement_log: AgreementLog,
    search: LoanSearch,
) -> APIBlueprint:
    """Build the blueprint `loan`: every route that reads loans.

    Args:
        lookup: Reads loans.
        calendar: Knows the current date.
        portfolio: Reads all loans on a day.
        event_log: Reads events with their provenance.
        agreement_log: Reads terms and schedules with their provenance.
        search: Finds loans.
    """
    routes = APIBlueprint("loan", __name__, abp_tags=[Tag(name="loans", description="Balances of loans on any date")])

    add_balance_routes(routes, lookup, event_log)

    @routes.get(
        "/api/v1/loan/<loan_id>",
        summary="Get a loan",
        responses={200: LoanReply, **COMMON_RESPONSES},
    )
    def loan(path: LoanPath, query: LoanQuery) -> Response:
        """Return the loan's terms, its version and its balance today.

        With `known_at`, the balance is that on the date of that time.
        """
        snapshot = get_snapshot(lookup, path, query)
        terms = {
            "start_date": to_date(snapshot.timeline.start_day).isoformat(),
            "initial_amt": to_decimal_string(snapshot.timeline.initial, snapshot.timeline.exponent),
        }
        return ledger_reply(
            lookup, snapshot, terms | balance_members(snapshot.timeline, calendar.today(query.known_at))
        )

    add_payoff_route(routes, lookup)
    add_arrears_route(routes, lookup)
    add_history_route(routes, lookup, calendar)
    add_statement_route(routes, lookup, calendar, event_log)
    add_events_route(routes, event_log)
    add_agreement_routes(routes, event_log, agreement_log)
    add_balance_batch_route(routes, lookup)
    add_portfolio_route(routes, portfolio)
    add_loans_route(routes, search, calendar)
    return routes

"""What loans owe."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import Field

from native import to_date
from service.domain.money import to_decimal_string
from service.ledger.reader import BalanceReader
from service.portfolio.sql import SqlPortfolio
from service.web.routes.balance import add_balance
from service.web.routes.balance_batch import add_balances
from service.web.routes.history import add_history
from service.web.routes.portfolio import add_portfolio
from service.web.routes.statement import add_statement
from service.web.schemas.ledger_reply import LedgerReply, ledger_reply
from service.web.schemas.loan_query import REFUSALS, LoanPath, Wishes, ledger_of
from service.web.schemas.query_fields import Currency, Day, LoanId, Money, Version
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


def loan_routes(reader: BalanceReader, portfolio: SqlPortfolio) -> APIBlueprint:
    """The blueprint `loan`, answered by `reader` and `portfolio`."""
    routes = APIBlueprint("loan", __name__, abp_tags=[Tag(name="loans", description="What loans owe, on any day")])

    add_balance(routes, reader)

    @routes.get(
        "/api/v1/loan/<loan_id>",
        summary="A loan's terms and today's balance",
        responses={200: LoanReply, **REFUSALS},
    )
    def loan(path: LoanPath, query: Wishes) -> Response:
        """What was agreed, and what is owed today."""
        known = ledger_of(reader, path, query)
        terms = {
            "start_date": to_date(known.timeline.start_day).isoformat(),
            "initial_amt": to_decimal_string(known.timeline.initial),
        }
        return ledger_reply(reader, known, terms | balance_members(known.timeline, reader.today(query.known_at)))

    add_history(routes, reader)
    add_statement(routes, reader)
    add_balances(routes, reader)
    add_portfolio(routes, portfolio)
    return routes

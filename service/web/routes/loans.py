"""Route: finding loans by their terms and their state on a date, in pages."""

from datetime import UTC, datetime
from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint
from pydantic import BaseModel, Field

from service.domain.calendar import Calendar
from service.domain.money import to_decimal_string
from service.domain.parsing import MAX_LOAN_ID
from service.errors import InvalidRequest
from service.ledger.loan_search import FoundLoan, LoanFilter, LoanSearch, SearchPosition
from service.web.pagination import write_search_cursor
from service.web.schemas.common import Query
from service.web.schemas.content_negotiation import json_or_csv
from service.web.schemas.headers import LEDGER_HEADERS, NEXT_LINK, not_modified
from service.web.schemas.problem import problems
from service.web.schemas.query_fields import (
    BalanceFrom,
    BalanceTo,
    Currency,
    CurrencyCode,
    Day,
    EventSourceId,
    FirstId,
    Format,
    LastId,
    Limit,
    LoanId,
    LoansPageCursor,
    Money,
    StartFrom,
    StartTo,
    State,
    StateDay,
    Version,
)
from service.web.schemas.table_reply import Table, json_or_csv_reply

FIELDS = ("loan_id", "start_date", "initial_amt", "currency", "date", "balance", "state", "version")
_CSV_EXAMPLE = f"{','.join(FIELDS)}\r\n1,2019-12-05,1000.00,USD,2020-07-01,899.50,open,2\r\n"


class LoansQuery(Query):
    """Query parameters: filters, date, paging and format."""

    id_from: FirstId = None
    id_to: LastId = None
    currency: CurrencyCode = None
    start_from: StartFrom = None
    start_to: StartTo = None
    state: State = None
    source_id: EventSourceId = None
    balance_from: BalanceFrom = None
    balance_to: BalanceTo = None
    date: StateDay = None
    limit: Limit = 100
    cursor: LoansPageCursor = None
    format: Format = None


class FoundLoanReply(BaseModel):
    """A loan's terms, and its balance and state on the date."""

    loan_id: LoanId
    start_date: Day
    initial_amt: Money
    currency: Currency
    balance: Money = Field(description="The balance at the end of the date.")
    state: str = Field(
        description="The state on the date.",
        json_schema_extra={"enum": ["not_started", "open", "closed"], "example": "open"},
    )
    version: Version


class LoansReply(BaseModel):
    """A page of loans, in the order of their ids."""

    model_config = json_or_csv(_CSV_EXAMPLE, {**LEDGER_HEADERS, **NEXT_LINK})

    date: Day
    loans: list[FoundLoanReply] = Field(description="The loans of this page.")
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last page.")


def add_loans_route(routes: APIBlueprint, search: LoanSearch, calendar: Calendar) -> None:
    """Add the route to a blueprint."""

    @routes.get(
        "/api/v1/loans",
        summary="Find loans",
        responses={200: LoansReply, **not_modified({**LEDGER_HEADERS, **NEXT_LINK}), **problems(400, 503)},
    )
    def find_loans(query: LoansQuery) -> Response:
        """Return the loans that match all filters, in the order of their ids, with their balances on a date.

        `next_cursor`, and the header `Link`, lead to the next page. The pages contain each loan that existed at the
        first page exactly once. Loans that were created later are left out. Terms never change; each page shows the
        current balances.

        `text/csv`, selected by `Accept` or `format`, has the same pages, each with a row of column names.
        """
        return loans_reply(search, calendar, query)


def loans_reply(search: LoanSearch, calendar: Calendar, query: LoansQuery) -> Response:
    """Build the reply with a page of loans."""
    as_of = datetime.now(UTC)
    position = get_position(search, calendar, query)
    loans, following = search.page(position, query.limit)
    cursor = write_search_cursor(following) if following else None
    rows = [_members(loan) for loan in loans]
    day = position.filter.day.isoformat()
    members = {"date": day, "loans": rows, "next_cursor": cursor}
    table = Table(f"loans-{day}", FIELDS, ({**row, "date": day} for row in rows))
    return json_or_csv_reply(query.format, members, table, as_of, links_json=True)


def get_position(search: LoanSearch, calendar: Calendar, query: LoansQuery) -> SearchPosition:
    """Return where the requested page begins. Other parameters must agree with a cursor.

    Raises:
        InvalidRequest: If they do not, or a range ends before it begins.
        DatabaseUnavailable: If the database cannot be read.
    """
    for first, last in (("id_from", "id_to"), ("start_from", "start_to"), ("balance_from", "balance_to")):
        low, high = getattr(query, first), getattr(query, last)
        if low is not None and high is not None and low > high:
            raise InvalidRequest([(first, f"expected a value that is not above `{last}`")])
    if query.cursor is None:
        chosen = LoanFilter(
            query.date or calendar.today(),
            query.id_from or 1,
            query.id_to or MAX_LOAN_ID,
            query.currency,
            query.start_from,
            query.start_to,
            query.state,
            query.source_id,
            query.balance_from,
            query.balance_to,
        )
        return search.begin(chosen)
    noted = query.cursor.filter
    pairs = (
        (query.date, noted.day),
        (query.id_from, noted.first_id),
        (query.id_to, noted.last_id),
        (query.currency, noted.currency),
        (query.start_from, noted.start_from),
        (query.start_to, noted.start_to),
        (query.state, noted.state),
        (query.source_id, noted.source_id),
        (query.balance_from, noted.balance_from),
        (query.balance_to, noted.balance_to),
    )
    if any(given not in (None, other) for given, other in pairs):
        raise InvalidRequest([("cursor", "expected a cursor of these filters and this date")])
    return query.cursor


def _members(loan: FoundLoan) -> dict[str, Any]:
    return {
        "loan_id": loan.loan_id,
        "start_date": loan.start_date.isoformat(),
        "initial_amt": to_decimal_string(loan.initial, loan.exponent),
        "currency": loan.currency,
        "balance": to_decimal_string(loan.balance, loan.exponent),
        "state": loan.state,
        "version": loan.version,
    }

"""A loan's statement, page by page or as one CSV file."""

from dataclasses import replace
from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint
from pydantic import Field

from service.domain.calendar import Calendar
from service.domain.date_range import DateRange
from service.domain.money import to_decimal_string
from service.domain.statement import Statement
from service.errors import InvalidRequest
from service.ledger.timeline_lookup import LoanSnapshot, TimelineLookup
from service.web.pagination import Cursor
from service.web.schemas.content_negotiation import CSV_TYPE, json_or_csv, wants_csv
from service.web.schemas.event import EventReply
from service.web.schemas.headers import LEDGER_HEADERS
from service.web.schemas.loan_query import REFUSALS, DateRangeQuery, LoanPath, get_snapshot, resolve_date_range
from service.web.schemas.query_fields import Currency, Day, Format, Limit, LoanId, Money, PageCursor, Version
from service.web.schemas.replies import LedgerReply, conditional, ledger_reply
from service.web.serializers import entry_members, ledger_headers
from service.web.statement_csv import statement_csv

_CSV_EXAMPLE = (
    "tx_id,event_type,post_date,amt,reversal,signed_amt,balance\r\n"
    ",opening,2020-02-01,,,,1010.00\r\n"
    "7,payment,2020-02-29,110.50,false,-110.50,899.50\r\n"
    ",closing,2020-02-29,,,,899.50\r\n"
)


class StatementQuery(DateRangeQuery):
    """And in which pieces."""

    limit: Limit = 100
    cursor: PageCursor = None
    format: Format = None


class StatementReply(LedgerReply):
    """A page of a statement: what was owed before the span, what changed that, and what was owed after it."""

    model_config = json_or_csv(_CSV_EXAMPLE, LEDGER_HEADERS)

    loan_id: LoanId
    currency: Currency
    version: Version
    first: Day = Field(alias="from")
    last: Day = Field(alias="to")
    opening_balance: Money = Field(description="what was owed at the end of the day before `from`")
    closing_balance: Money = Field(description="what was owed at the end of `to`")
    events: list[EventReply] = Field(description="those of this page; of all pages, they lead from opening to closing")
    next_cursor: str | None = Field(description="asks for the next page; null on the last one")


def add_statement(routes: APIBlueprint, lookup: TimelineLookup, calendar: Calendar) -> None:
    """Add the route to a blueprint."""

    @routes.get(
        "/api/v1/loan/<loan_id>/statement",
        summary="Everything that changed the balance",
        responses={200: StatementReply, **REFUSALS},
    )
    def statement(path: LoanPath, query: StatementQuery) -> Response:
        """What the loan owed before `from`, each event that counts until `to` with the balance after it, and what it
        owed then: opening, and what the events add, is closing. If the loan starts within the span, an event
        `principal` says so, without a `tx_id`; events that are dated earlier count from there.

        Pages follow each other by `next_cursor`, all as of the version of the first one, whatever is posted meanwhile.
        As `text/csv`, by `Accept` or `format`, it comes whole, between rows `opening` and `closing`."""
        if _is_csv(query):
            snapshot = get_snapshot(lookup, path, query)
            response = _csv_reply(lookup, snapshot, resolve_date_range(calendar, snapshot, query))
        else:
            snapshot, page = _page_of(lookup, calendar, path, query)
            response = ledger_reply(lookup, snapshot, _page_members(snapshot, page, query.limit))
        response.vary.add("Accept")
        return response


def _is_csv(query: StatementQuery) -> bool:
    if not wants_csv(query.format):
        return False
    paging = [field for field in ("limit", "cursor") if field in query.model_fields_set]
    if paging:
        raise InvalidRequest([(field, "expected none with CSV, which comes whole") for field in paging])
    return True


def _page_of(
    lookup: TimelineLookup, calendar: Calendar, path: LoanPath, query: StatementQuery
) -> tuple[LoanSnapshot, Cursor]:
    """The ledger and the page that are asked for. Beside a cursor, whatever else is said must agree with it."""
    page = query.cursor
    if page is None:
        snapshot = get_snapshot(lookup, path, query)
        return snapshot, Cursor(
            path.loan_id, snapshot.timeline.version, resolve_date_range(calendar, snapshot, query), 0
        )
    if (
        page.loan_id != path.loan_id
        or query.first not in (None, page.span.first)
        or query.last not in (None, page.span.last)
        or query.as_of_version not in (None, page.version)
        or query.min_version > page.version
        or (query.known_at and get_snapshot(lookup, path, query).timeline.version != page.version)
    ):
        raise InvalidRequest([("cursor", "expected one of this loan, these dates and this version")])
    return lookup.get_at_version(page.loan_id, page.version), page


def _page_members(snapshot: LoanSnapshot, page: Cursor, limit: int) -> dict[str, Any]:
    statement = Statement(snapshot.timeline, page.span)
    if page.position and page.position >= len(statement):
        raise InvalidRequest([("cursor", "expected one of a page that there is")])
    end = page.position + limit
    return {
        "loan_id": page.loan_id,
        "currency": snapshot.timeline.currency,
        "version": page.version,
        "from": page.span.first.isoformat(),
        "to": page.span.last.isoformat(),
        "opening_balance": to_decimal_string(statement.opening),
        "closing_balance": to_decimal_string(statement.closing),
        "events": [entry_members(line) for line in statement.lines(page.position, end)],
        "next_cursor": str(replace(page, position=end)) if end < len(statement) else None,
    }


def _csv_reply(lookup: TimelineLookup, snapshot: LoanSnapshot, span: DateRange) -> Response:
    name = f"loan-{snapshot.timeline.loan_id}-{span.first}-{span.last}.csv"
    # what it is made from, instead of what it will be; the horizon of the read is no part of that
    source = bytes(snapshot.timeline.with_horizon(0)) + name.encode("ascii")
    headers = [
        *ledger_headers(CSV_TYPE, source, lookup.as_of(snapshot)),
        ("Content-Disposition", f'attachment; filename="{name}"'),
    ]
    return conditional(Response(statement_csv(Statement(snapshot.timeline, span), span), headers=headers))

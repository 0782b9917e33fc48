"""A loan's statement, page by page or as one CSV file."""

from dataclasses import replace
from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint
from pydantic import Field

from service.domain.date_range import Span
from service.domain.money import to_decimal_string
from service.domain.statement import Statement
from service.errors import InvalidRequest
from service.ledger.reader import BalanceReader
from service.ledger.timeline_lookup import Known
from service.web.pagination import Cursor
from service.web.schemas.content_negotiation import CSV_TYPE, or_csv, wants_csv
from service.web.schemas.event import LineReply
from service.web.schemas.headers import OF_A_LEDGER
from service.web.schemas.ledger_reply import LedgerReply, ledger_reply, unless_known
from service.web.schemas.loan_query import REFUSALS, LoanPath, SpanWishes, ledger_of, span_of
from service.web.schemas.query_fields import Currency, Day, Format, Limit, LoanId, Money, PageCursor, Version
from service.web.serializers import ledger_headers, line_members
from service.web.statement_csv import statement_csv

_CSV_EXAMPLE = (
    "tx_id,event_type,post_date,amt,reversal,signed_amt,balance\r\n"
    ",opening,2020-02-01,,,,1010.00\r\n"
    "7,payment,2020-02-29,110.50,false,-110.50,899.50\r\n"
    ",closing,2020-02-29,,,,899.50\r\n"
)


class StatementWishes(SpanWishes):
    """And in which pieces."""

    limit: Limit = 100
    cursor: PageCursor = None
    format: Format = None


class StatementReply(LedgerReply):
    """A page of a statement: what was owed before the span, what changed that, and what was owed after it."""

    model_config = or_csv(_CSV_EXAMPLE, OF_A_LEDGER)

    loan_id: LoanId
    currency: Currency
    version: Version
    first: Day = Field(alias="from")
    last: Day = Field(alias="to")
    opening_balance: Money = Field(description="what was owed at the end of the day before `from`")
    closing_balance: Money = Field(description="what was owed at the end of `to`")
    events: list[LineReply] = Field(description="those of this page; of all pages, they lead from opening to closing")
    next_cursor: str | None = Field(description="asks for the next page; null on the last one")


def add_statement(routes: APIBlueprint, reader: BalanceReader) -> None:
    """Add the route to a blueprint."""

    @routes.get(
        "/api/v1/loan/<loan_id>/statement",
        summary="Everything that changed the balance",
        responses={200: StatementReply, **REFUSALS},
    )
    def statement(path: LoanPath, query: StatementWishes) -> Response:
        """What the loan owed before `from`, each event that counts until `to` with the balance after it, and what it
        owed then: opening, and what the events add, is closing. If the loan starts within the span, an event
        `principal` says so, without a `tx_id`; events that are dated earlier count from there.

        Pages follow each other by `next_cursor`, all as of the version of the first one, whatever is posted meanwhile.
        As `text/csv`, by `Accept` or `format`, it comes whole, between rows `opening` and `closing`."""
        if _is_csv(query):
            known = ledger_of(reader, path, query)
            response = _csv_reply(reader, known, span_of(reader, known, query))
        else:
            known, page = _page_of(reader, path, query)
            response = ledger_reply(reader, known, _page_members(known, page, query.limit))
        response.vary.add("Accept")
        return response


def _is_csv(query: StatementWishes) -> bool:
    if not wants_csv(query.format):
        return False
    paging = [field for field in ("limit", "cursor") if field in query.model_fields_set]
    if paging:
        raise InvalidRequest([(field, "expected none with CSV, which comes whole") for field in paging])
    return True


def _page_of(reader: BalanceReader, path: LoanPath, query: StatementWishes) -> tuple[Known, Cursor]:
    """The ledger and the page that are asked for. Beside a cursor, whatever else is said must agree with it."""
    page = query.cursor
    if page is None:
        known = ledger_of(reader, path, query)
        return known, Cursor(path.loan_id, known.timeline.version, span_of(reader, known, query), 0)
    if (
        page.loan_id != path.loan_id
        or query.first not in (None, page.span.first)
        or query.last not in (None, page.span.last)
        or query.as_of_version not in (None, page.version)
        or query.min_version > page.version
        or (query.known_at and ledger_of(reader, path, query).timeline.version != page.version)
    ):
        raise InvalidRequest([("cursor", "expected one of this loan, these dates and this version")])
    return reader.loan_at(page.loan_id, page.version), page


def _page_members(known: Known, page: Cursor, limit: int) -> dict[str, Any]:
    statement = Statement(known.timeline, page.span)
    if page.position and page.position >= len(statement):
        raise InvalidRequest([("cursor", "expected one of a page that there is")])
    end = page.position + limit
    return {
        "loan_id": page.loan_id,
        "currency": known.timeline.currency,
        "version": page.version,
        "from": page.span.first.isoformat(),
        "to": page.span.last.isoformat(),
        "opening_balance": to_decimal_string(statement.opening),
        "closing_balance": to_decimal_string(statement.closing),
        "events": [line_members(line) for line in statement.lines(page.position, end)],
        "next_cursor": str(replace(page, position=end)) if end < len(statement) else None,
    }


def _csv_reply(reader: BalanceReader, known: Known, span: Span) -> Response:
    name = f"loan-{known.timeline.loan_id}-{span.first}-{span.last}.csv"
    # what it is made from, instead of what it will be; the horizon of the read is no part of that
    source = bytes(known.timeline.with_horizon(0)) + name.encode("ascii")
    headers = [
        *ledger_headers(CSV_TYPE, source, reader.as_of(known)),
        ("Content-Disposition", f'attachment; filename="{name}"'),
    ]
    return unless_known(Response(statement_csv(Statement(known.timeline, span), span), headers=headers))

"""Route: the statement of a loan, as JSON pages or CSV."""

from dataclasses import replace
from functools import partial
from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint
from pydantic import Field

from native import day_number
from service.domain.calendar import Calendar
from service.domain.date_range import DateRange
from service.domain.money import to_decimal_string
from service.domain.statement import Statement
from service.errors import InvalidRequest
from service.ledger.event_log import EventLog
from service.ledger.timeline_lookup import LoanSnapshot, TimelineLookup
from service.web.pagination import Cursor
from service.web.payoff_members import settlement_members
from service.web.schemas.content_negotiation import CSV_TYPE, attachment, json_or_csv, wants_csv
from service.web.schemas.event import EventReply
from service.web.schemas.headers import LOAN_HEADERS
from service.web.schemas.loan_query import COMMON_RESPONSES, DateRangeQuery, LoanPath, get_snapshot, resolve_date_range
from service.web.schemas.problem import problems
from service.web.schemas.query_fields import (
    Currency,
    Day,
    Format,
    Limit,
    LoanId,
    Money,
    PageCursor,
    ProvenanceFlag,
    Version,
)
from service.web.schemas.replies import LoanLedgerReply, conditional, ledger_reply
from service.web.schemas.settlement import Settlement, SettlementQuery
from service.web.serializers import add_provenance, entry_members, ledger_headers, tx_ids_of
from service.web.statement_csv import statement_csv

_CSV_EXAMPLE = (
    "tx_id,event_type,post_date,amt,reversal,signed_amt,balance,version,recorded_at,reverses,reversed_by,loan_id,currency\r\n"
    ",opening,2020-02-01,,,,1010.00,,,,,1,USD\r\n"
    "7,payment,2020-02-29,110.50,false,-110.50,899.50,2,2020-03-02T09:30:00.000000Z,,,1,USD\r\n"
    ",closing,2020-02-29,,,,899.50,,,,,1,USD\r\n"
)


class StatementQuery(DateRangeQuery, SettlementQuery):
    """Query parameters: state of the loan, date range, paging, format, payoff and arrears."""

    limit: Limit = 100
    cursor: PageCursor = None
    format: Format = None
    provenance: ProvenanceFlag = False


class StatementReply(LoanLedgerReply, Settlement):
    """A page of a statement, with the payoff and the arrears at the end of `to`."""

    model_config = json_or_csv(_CSV_EXAMPLE, LOAN_HEADERS)

    loan_id: LoanId
    currency: Currency
    version: Version
    first: Day = Field(alias="from")
    last: Day = Field(alias="to")
    opening_balance: Money = Field(description="The balance at the end of the day before `from`.")
    closing_balance: Money = Field(description="The balance at the end of `to`.")
    events: list[EventReply] = Field(description="The events of this page.")
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last page.")


def add_statement_route(routes: APIBlueprint, lookup: TimelineLookup, calendar: Calendar, event_log: EventLog) -> None:
    """Add the route to a blueprint."""

    @routes.get(
        "/api/v1/loan/<loan_id>/statement",
        summary="Get the statement of a loan",
        responses={200: StatementReply, **COMMON_RESPONSES, **problems(422)},
    )
    def statement(path: LoanPath, query: StatementQuery) -> Response:
        """Return the opening balance, every event with the balance after it, and the closing balance.

        The opening balance plus the events of all pages equals the closing balance. If the loan starts within the
        date range, the principal is an event of type `principal` without a `tx_id`. Events dated before the start
        date count from the start date on.

        `next_cursor` leads to the next page. All pages show the version of the first page, even if events are posted
        in between. `text/csv`, selected by `Accept` or `format`, is not paged: it has the whole statement between
        the rows `opening` and `closing`.
        """
        if _is_csv(query):
            snapshot = get_snapshot(lookup, path, query)
            date_range = resolve_date_range(calendar, snapshot, query)
            response = _csv_reply(lookup, snapshot, date_range, query, event_log if query.provenance else None)
        else:
            snapshot, page = _get_page(lookup, calendar, path, query)
            members = _page_members(snapshot, page, query)
            if query.provenance:
                add_provenance(members["events"], event_log.provenance(path.loan_id, tx_ids_of(members["events"])))
            response = ledger_reply(lookup, snapshot, members)
        response.vary.add("Accept")
        return response


def _is_csv(query: StatementQuery) -> bool:
    if not wants_csv(query.format):
        return False
    invalid = [field for field in ("limit", "cursor") if field in query.model_fields_set]
    if invalid:
        raise InvalidRequest([(field, "not allowed with CSV, which is not paged") for field in invalid])
    return True


def _get_page(
    lookup: TimelineLookup, calendar: Calendar, path: LoanPath, query: StatementQuery
) -> tuple[LoanSnapshot, Cursor]:
    """Return the loan and the requested page. Other parameters must agree with a cursor."""
    page = query.cursor
    if page is None:
        snapshot = get_snapshot(lookup, path, query)
        return snapshot, Cursor(
            path.loan_id, snapshot.timeline.version, resolve_date_range(calendar, snapshot, query), 0
        )
    if (
        page.loan_id != path.loan_id
        or query.first not in (None, page.date_range.first)
        or query.last not in (None, page.date_range.last)
        or query.as_of_version not in (None, page.version)
        or query.min_version > page.version
        or (query.known_at and get_snapshot(lookup, path, query).timeline.version != page.version)
    ):
        raise InvalidRequest([("cursor", "expected a cursor of this loan, date range and version")])
    return lookup.get_at_version(page.loan_id, page.version), page


def _page_members(snapshot: LoanSnapshot, page: Cursor, query: StatementQuery) -> dict[str, Any]:
    statement = Statement(snapshot.timeline, page.date_range)
    digits = statement.digits
    if page.position and page.position >= len(statement):
        raise InvalidRequest([("cursor", "past the last page")])
    end = page.position + query.limit
    return {
        "loan_id": page.loan_id,
        "currency": snapshot.timeline.currency,
        "version": page.version,
        "from": page.date_range.first.isoformat(),
        "to": page.date_range.last.isoformat(),
        "opening_balance": to_decimal_string(statement.opening, digits),
        "closing_balance": to_decimal_string(statement.closing, digits),
        **settlement_members(snapshot.timeline, day_number(page.date_range.last), query),
        "events": [entry_members(entry, digits) for entry in statement.entries(page.position, end)],
        "next_cursor": str(replace(page, position=end)) if end < len(statement) else None,
    }


def _csv_reply(
    lookup: TimelineLookup,
    snapshot: LoanSnapshot,
    date_range: DateRange,
    query: StatementQuery,
    event_log: EventLog | None,
) -> Response:
    settlement = settlement_members(snapshot.timeline, day_number(date_range.last), query)
    loan_id, version = snapshot.timeline.loan_id, snapshot.timeline.version
    name = f"loan-{loan_id}-{date_range.first}-{date_range.last}.csv"
    # The CSV is streamed, so its ETag covers what it is computed from. The horizon does not affect it.
    columns = ",".join([*settlement, *(["provenance"] if event_log else [])])
    source = bytes(snapshot.timeline.with_horizon(0)) + f"{name}+{columns}".encode("ascii")
    statement = Statement(snapshot.timeline, date_range)
    headers = [
        *ledger_headers(CSV_TYPE, source, lookup.as_of(snapshot), version),
        attachment(name),
    ]
    read_provenance = partial(event_log.provenance, loan_id) if event_log else None
    return conditional(Response(statement_csv(statement, date_range, settlement, read_provenance), headers=headers))

"""Route: the events of a loan as they were recorded, in pages."""

from decimal import Decimal
from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint
from pydantic import Field

from service.domain.money import to_decimal_string
from service.errors import InvalidRequest, VersionNotReached
from service.ledger.event_log import EventFilter, EventLog, LoanState, RecordedEvent
from service.ledger.posting import to_rfc3339
from service.web.pagination import EventsCursor
from service.web.schemas.content_negotiation import json_or_csv
from service.web.schemas.event import RecordedEventReply
from service.web.schemas.headers import LOAN_HEADERS, NEXT_CSV_LINK
from service.web.schemas.loan_query import COMMON_RESPONSES, LoanPath, LoanQuery, check_one_state, page_as_of
from service.web.schemas.query_fields import (
    Currency,
    EventsPageCursor,
    EventType,
    Format,
    Limit,
    LoanId,
    RecordedFrom,
    RecordedTo,
    SourceId,
    Version,
)
from service.web.schemas.replies import LoanLedgerReply
from service.web.schemas.table_reply import Table, json_or_csv_reply

COLUMNS = ("loan_id", "currency", *RecordedEvent._fields)
_CSV_EXAMPLE = (
    f"{','.join(COLUMNS)}\r\n"
    "1,USD,7,2,payment,2020-02-29,110.50,2020-03-02T09:30:00.000000Z,receipt-7,,,ann@example.com,\r\n"
)


class EventsQuery(LoanQuery):
    """Query parameters: state of the loan, filters, paging and format."""

    source_id: SourceId = None
    event_type: EventType = None
    recorded_from: RecordedFrom = None
    recorded_to: RecordedTo = None
    limit: Limit = 100
    cursor: EventsPageCursor = None
    format: Format = None


class EventsReply(LoanLedgerReply):
    """A page of a loan's events, in the order in which they were recorded."""

    model_config = json_or_csv(_CSV_EXAMPLE, {**LOAN_HEADERS, **NEXT_CSV_LINK})

    loan_id: LoanId
    currency: Currency
    version: Version
    events: list[RecordedEventReply] = Field(description="The events of this page.")
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last page.")


def add_events_route(routes: APIBlueprint, event_log: EventLog) -> None:
    """Add the route to a blueprint."""

    @routes.get(
        "/api/v1/loan/<loan_id>/events",
        summary="List the events of a loan",
        responses={200: EventsReply, **COMMON_RESPONSES},
    )
    def list_events(path: LoanPath, query: EventsQuery) -> Response:
        """Return the loan's events in the order in which they were recorded, with who posted them and why.

        `next_cursor` leads to the next page. All pages show the version of the first page, even if events are posted
        in between. `reversed_by` names a reversal only if that version has it.

        `text/csv`, selected by `Accept` or `format`, has the same pages, each with a row of column names. The header
        `Link` leads to the next one.
        """
        as_of = page_as_of(query, query.cursor)
        state, page = _get_page(event_log, path, query)
        found = event_log.events(page.loan_id, page.version, page.chosen, page.after, query.limit + 1)
        events, more = found[: query.limit], found[query.limit :]
        following = EventsCursor(page.loan_id, page.version, page.chosen, events[-1].version) if more else None
        members: dict[str, Any] = {
            "loan_id": page.loan_id,
            "currency": state.currency,
            "version": page.version,
            "events": [_members(event, state.exponent) for event in events],
            "next_cursor": str(following) if following else None,
        }
        table = Table(f"loan-{page.loan_id}-events", COLUMNS, (members | event for event in members["events"]))
        return json_or_csv_reply(query.format, members, table, as_of, page.version)


def _get_page(event_log: EventLog, path: LoanPath, query: EventsQuery) -> tuple[LoanState, EventsCursor]:
    """Return the loan and the requested page. Other parameters must agree with a cursor."""
    check_one_state(query)
    chosen = EventFilter(query.source_id, query.event_type, query.recorded_from, query.recorded_to)
    if chosen.first is not None and chosen.last is not None and chosen.first > chosen.last:
        raise InvalidRequest([("recorded_from", "expected a time that is not after `recorded_to`")])
    page = query.cursor
    if page is None:
        state = event_log.state(path.loan_id, query.as_of_version, query.known_at)
        if state.version < query.min_version:
            raise VersionNotReached(path.loan_id, state.version, query.min_version)
        return state, EventsCursor(path.loan_id, state.version, chosen, 0)
    given = (chosen.source_id, chosen.event_type, chosen.first, chosen.last)
    noted = (page.chosen.source_id, page.chosen.event_type, page.chosen.first, page.chosen.last)
    if (
        page.loan_id != path.loan_id
        or any(each not in (None, other) for each, other in zip(given, noted, strict=True))
        or query.as_of_version not in (None, page.version)
        or query.min_version > page.version
        or (query.known_at and event_log.state(path.loan_id, known_at=query.known_at).version != page.version)
    ):
        raise InvalidRequest([("cursor", "expected a cursor of this loan, these filters and this version")])
    return event_log.state(page.loan_id, page.version), page


def _members(event: RecordedEvent, digits: int) -> dict[str, Any]:
    return {
        **event._asdict(),
        "amt": _to_amount(event.amt, digits),
        "recorded_at": to_rfc3339(event.recorded_at),
    }


def _to_amount(amt: Decimal, digits: int) -> str:
    return to_decimal_string(int(amt.scaleb(digits)), digits)

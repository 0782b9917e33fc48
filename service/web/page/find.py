"""The start of the page: finding loans by a number, by a receipt, or by what they are like."""

from typing import Annotated

from flask import Blueprint, Response, redirect, request
from pydantic import BeforeValidator

from security.context import SecurityContext
from service.domain.calendar import Calendar
from service.domain.parsing import parse_loan_id, parse_source_id
from service.errors import InvalidRequest, UnknownLoan
from service.ledger.event_log import EventLog
from service.ledger.loan_search import LoanSearch
from service.ledger.timeline_lookup import TimelineLookup
from service.web.page.context import PageContext, page_context
from service.web.page.found_loans import LOANS_PER_PAGE, find_loans
from service.web.page.headers import secure
from service.web.page.paths import PAGE
from service.web.page.query import parses_query
from service.web.page.rendering import render
from service.web.routes.loans import LoansQuery
from service.web.schemas.query_fields import CurrencyCode, Limit

_FILTERS = ("source_id", "id_from", "id_to", "currency", "start_from", "start_to", "state", "balance_from",
            "balance_to", "date", "limit")  # fmt: skip
# Those with a field in the form. The others occur in links only.
_FIELDS = ("currency", "start_from", "start_to", "state", "balance_from", "balance_to", "date")
# What the list says about parameters that contradict each other.
_RANGES = dict.fromkeys(("start_from", "balance_from", "id_from"), "this is above the end of the range")
_CURSOR = "this page of the list cannot be shown any more, or its address is not whole"


class FindQuery(LoansQuery):
    """Query parameters: what a person has typed into the box, or filters."""

    q: Annotated[str | None, BeforeValidator(parse_source_id)] = None
    currency: Annotated[CurrencyCode, BeforeValidator(str.upper)] = None
    limit: Limit = LOANS_PER_PAGE


def add_find_routes(
    routes: Blueprint,
    security: SecurityContext,
    lookup: TimelineLookup,
    search: LoanSearch,
    event_log: EventLog,
    calendar: Calendar,
) -> None:
    """Add the routes to the page's blueprint."""

    @routes.get(PAGE, strict_slashes=False)
    @parses_query
    def find(query: FindQuery, errors: dict[str, str]) -> Response:
        page = page_context(security)
        loan_id, found = None, None
        given = {name: request.args.get(name, "").strip() for name in ("q", *_FILTERS)}
        given["currency"] = given["currency"].upper()
        if query.q is not None:
            loan_id, given["source_id"] = _existing(lookup, query.q), query.q
            query = query.model_copy(update={"source_id": query.q})
        if not errors:
            try:
                found = find_loans(search, event_log, calendar, query)
            except InvalidRequest as err:
                errors = {name: _RANGES.get(name, _CURSOR) for name, _ in err.errors}
        if "cursor" in errors:
            errors = errors | {"cursor": _CURSOR}
        if loan_id is not None and found is not None and not found.loans:
            return _to_loan(page, loan_id, given["date"])
        links = {name: value for name, value in given.items() if value and name != "q"}
        return render(
            "find.html", page, 400 if errors else 200, given=given, links=links, errors=errors, found=found,
            loan_id=loan_id, today=calendar.today(), is_filtered=any(given[name] for name in _FIELDS),
            is_narrowed=any(links.keys() - {"date", "limit"}),
            is_first=query.cursor is None,
            data={"limit": query.limit, **links, "cursor": request.args.get("cursor", "")},
        )  # fmt: skip


def _existing(lookup: TimelineLookup, text: str) -> int | None:
    """Return the loan whose number a person has typed, if it exists."""
    try:
        loan_id = parse_loan_id(text.removeprefix("#"))
        lookup.get(loan_id)
    except (ValueError, UnknownLoan):
        return None
    return loan_id


def _to_loan(page: PageContext, loan_id: int, day: str) -> Response:
    response: Response = redirect(page.link(f"/loan/{loan_id}", date=day), 303)  # type: ignore[assignment]
    return secure(response)

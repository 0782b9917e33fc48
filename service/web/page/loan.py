"""The views of one loan: its balance and statement, what explains a balance, and where an event is."""

from collections.abc import Callable
from functools import partial

from flask import Blueprint, Response, redirect
from werkzeug.exceptions import NotFound

from native import Timeline, day_number
from security.context import SecurityContext
from service.domain.calendar import Calendar
from service.domain.date_range import DateRange
from service.domain.parsing import MAX_LIMIT
from service.domain.statement import Statement
from service.ledger.agreement_log import AgreementLog
from service.ledger.event_log import EventLog
from service.ledger.timeline_lookup import TimelineLookup
from service.web.explanation import MAX_EVENTS, explain
from service.web.page.agreement_rows import agreement_rows
from service.web.page.amounts import show
from service.web.page.context import PageContext, page_context
from service.web.page.loan_address import LoanAddress, LoanViewQuery
from service.web.page.loan_view import LoanView, loan_view
from service.web.page.paths import PAGE
from service.web.page.query import parses_query
from service.web.page.rendering import render
from service.web.page.statement_page import StatementPage, page_of, read_page
from service.web.serializers import balance_members


def add_loan_routes(
    routes: Blueprint,
    security: SecurityContext,
    lookup: TimelineLookup,
    calendar: Calendar,
    event_log: EventLog,
    agreement_log: AgreementLog,
) -> None:
    """Add the routes to the page's blueprint."""

    def read(loan_id: str, query: LoanViewQuery) -> LoanView:
        address = LoanAddress.parse(loan_id, query)
        snapshot = address.read(lookup)
        return loan_view(address, snapshot.timeline, calendar, lookup.as_of(snapshot))

    @routes.get(f"{PAGE}/loan/<loan_id>")
    @parses_query
    def loan(loan_id: str, query: LoanViewQuery) -> Response:
        view = read(loan_id, query)
        page = page_context(security)
        rows = read_page(view.statement(), view.address.page, event_log, latest_first=True)
        return render(
            "loan.html", page, view=view, rows=rows, link_event=_link_events(page, view.address, rows),
            show=partial(show, tag=page.locale), amount=partial(page.amount, digits=view.timeline.exponent),
            days={"today": day_number(view.today), "chosen": day_number(view.day)},
            settlement=view.settlement() if view.is_agreed else None,
            agreements=agreement_rows(view.timeline, agreement_log), longest_page=MAX_LIMIT,
        )  # fmt: skip

    @routes.get(f"{PAGE}/loan/<loan_id>/why")
    @parses_query
    def explanation(loan_id: str, query: LoanViewQuery) -> Response:
        view = read(loan_id, query)
        page = page_context(security)
        # The same events as in the API's explanation. Before the loan starts, no event counts.
        statement = Statement(view.timeline, DateRange(min(view.start, view.day), view.day))
        rows = read_page(statement, view.address.page, event_log, latest_first=False)
        digest = None
        if view.composition.events <= MAX_EVENTS:
            members = balance_members(view.timeline, view.day)
            digest = explain(members, view.timeline, day_number(view.day))["digest"]
        return render(
            "explanation.html", page, view=view, rows=rows, link_event=_link_events(page, view.address, rows),
            digest=digest, most=MAX_EVENTS,
        )  # fmt: skip

    @routes.get(f"{PAGE}/loan/<loan_id>/event/<tx_id>")
    @parses_query
    def event(loan_id: str, tx_id: str, query: LoanViewQuery) -> Response:
        view = read(loan_id, query.model_copy(update={"first": None, "last": None}))
        position = _position(view.timeline, tx_id)
        statement = view.statement()
        number = page_of(position + len(statement) - len(view.timeline), len(statement), latest_first=True)
        query_of_page = view.address.query | {"page": number}
        target = page_context(security).link(f"/loan/{view.address.loan_id}", **query_of_page)
        return redirect(f"{target}#tx-{tx_id}", 303)  # type: ignore[return-value]


def _position(timeline: Timeline, tx_id: str) -> int:
    """Return the position of an event among those of a loan.

    Raises:
        NotFound: If the loan has no such event in this state.
    """
    for position, event in enumerate(timeline.events(0, len(timeline))):
        if str(event[4]) == tx_id:
            return position
    raise NotFound


def _link_events(page: PageContext, address: LoanAddress, rows: StatementPage) -> Callable[[int], str]:
    """Return a function that links to an event: on this page if it has it, otherwise by the address of the event."""
    path = f"/loan/{address.loan_id}/event"
    query = {"date": address.day, **address.state}
    return lambda tx_id: f"#tx-{tx_id}" if rows.has(tx_id) else page.link(f"{path}/{tx_id}", **query)

"""The view of one loan."""

from flask import Blueprint, Response

from native import to_date
from security.context import SecurityContext
from service.domain.calendar import Calendar
from service.domain.parsing import parse_loan_id
from service.errors import InvalidRequest
from service.ledger.timeline_lookup import TimelineLookup
from service.web.page.context import page_context
from service.web.page.rendering import render


def add_loan_routes(routes: Blueprint, security: SecurityContext, lookup: TimelineLookup, calendar: Calendar) -> None:
    """Add the routes to the page's blueprint."""

    @routes.get("/app/loan/<loan_id>")
    def loan(loan_id: str) -> Response:
        try:
            number = parse_loan_id(loan_id)
        except ValueError as err:
            raise InvalidRequest([("loan", str(err))]) from None
        timeline = lookup.get(number).timeline
        return render(
            "loan.html", page_context(security), timeline=timeline, start=to_date(timeline.start_day),
            today=calendar.today(),
        )  # fmt: skip

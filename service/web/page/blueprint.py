"""Puts the views of the page together."""

from flask import Blueprint, Response, request

from security.frameworks.flask import Security
from service.domain.calendar import Calendar
from service.ledger.agreement_log import AgreementLog
from service.ledger.event_log import EventLog
from service.ledger.loan_search import LoanSearch
from service.ledger.timeline_lookup import TimelineLookup
from service.portfolio.book import Book
from service.portfolio.sql import SqlPortfolio
from service.tokens.grants import TokenGrants
from service.web.page.access import PageAccess
from service.web.page.book import add_book_routes
from service.web.page.data import add_data_routes
from service.web.page.errors import add_error_route
from service.web.page.filters import add_filters
from service.web.page.find import add_find_routes
from service.web.page.headers import secure
from service.web.page.loan import add_loan_routes
from service.web.page.number_format import add_number_format_route
from service.web.page.paths import is_page_path
from service.web.page.sign_in import add_sign_in_routes
from service.web.page.static_files import add_static_route

PAGE_BLUEPRINT = "page"
MAX_FORM_BYTES = 32_768  # of a sign-in whose token is far too long for a cookie, so that the page can say so


def build_page_routes(
    *,
    security: Security,
    access: PageAccess,
    grants: TokenGrants,
    secure_loans: bool,
    lookup: TimelineLookup,
    calendar: Calendar,
    portfolio: SqlPortfolio,
    book: Book,
    event_log: EventLog,
    agreement_log: AgreementLog,
    search: LoanSearch,
) -> Blueprint:
    """Build the blueprint `page`.

    Args:
        security: Knows who has been authenticated.
        access: Authenticates requests.
        grants: Grants tokens to clients.
        secure_loans: Whether reading loans requires a token.
        lookup: Reads loans.
        calendar: Knows the current date.
        portfolio: Reads all loans on a day.
        book: Reads all loans over time.
        event_log: Reads events with their provenance.
        agreement_log: Reads terms and schedules with their provenance.
        search: Finds loans.
    """
    routes = Blueprint(PAGE_BLUEPRINT, __name__)
    routes.before_request(_limit_forms)
    routes.after_app_request(_secure_page)
    add_static_route(routes)
    add_number_format_route(routes)
    add_sign_in_routes(routes, access, grants, secure_loans)
    add_find_routes(routes, security.context, lookup, search, event_log, calendar)
    add_loan_routes(routes, security.context, lookup, calendar, event_log, agreement_log)
    add_book_routes(routes, security.context, calendar, portfolio, book)
    add_data_routes(routes, "loan")
    add_filters(routes)
    add_error_route(routes)
    return routes


def _secure_page(response: Response) -> Response:
    # Also redirects to the usual spelling of a path, which belong to no blueprint.
    return secure(response) if is_page_path(request.path) else response


def _limit_forms() -> None:
    request.max_content_length = MAX_FORM_BYTES

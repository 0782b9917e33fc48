"""The application factory."""

from collections.abc import Callable
from typing import Any

from flask import Flask
from flask_openapi3 import APIBlueprint, Info, OpenAPI
from werkzeug.routing import Map, UnicodeConverter

from security.frameworks.flask import Security
from service import __version__
from service.domain.calendar import Calendar
from service.gateway.identity import Identity
from service.ledger.agreement_log import AgreementLog
from service.ledger.agreement_posting import AgreementWriter
from service.ledger.event_log import EventLog
from service.ledger.loan_search import LoanSearch
from service.ledger.posting import LedgerWriter
from service.ledger.timeline_lookup import TimelineLookup
from service.portfolio.book import Book
from service.portfolio.sql import SqlPortfolio
from service.tokens.client_registry import ClientRegistry
from service.tokens.grants import TokenGrants
from service.tokens.issuer import TokenIssuer
from service.tokens.throttle import AttemptThrottle
from service.web import error_handlers
from service.web.access import guard
from service.web.health import Health
from service.web.page.access import PageAccess
from service.web.page.blueprint import PAGE_BLUEPRINT, build_page_routes
from service.web.page.errors import to_page
from service.web.page.paths import PAGE, is_page_path
from service.web.request import StrictRequest, reject_unknown_parameters
from service.web.routes.docs import build_documentation_routes
from service.web.routes.jwks import build_jwks_routes
from service.web.routes.loan import build_loan_routes
from service.web.routes.operations import build_operations_routes
from service.web.routes.posting import build_posting_routes
from service.web.routes.posting_request import Caller
from service.web.routes.token import build_token_routes
from service.web.schemas.problem import Problem

MAX_BODY_BYTES = 6_000_000
"""The largest body of a request.

The largest request that the schemas allow has 1,000 events of 5,400 bytes: `source_id` and `memo` of 200 characters
that are written as two escapes of 6 bytes each, and every other character of a string as one.
"""


class _Segment(UnicodeConverter):
    """A variable segment of a path. The name of a route that only POST has is not taken for the date of a GET."""

    def __init__(self, url_map: Map) -> None:
        super().__init__(url_map)
        self.regex = rf"(?!accrue\Z){self.regex}"


class _Application(OpenAPI):
    request_class = StrictRequest

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func  # no view is a coroutine, and checking that for each request is slow

    def register_api(self, api: APIBlueprint, **options: Any) -> None:
        """Register a blueprint. Another one may have other methods of the same paths, which the base class forgets."""
        earlier = dict(self.paths)
        super().register_api(api, **options)
        for path, item in earlier.items():
            for method in ("get", "post"):
                operation = getattr(item, method)
                if operation is not None:
                    setattr(self.paths[path], method, operation)


def create_app(
    *,
    lookup: TimelineLookup,
    calendar: Calendar,
    portfolio: SqlPortfolio,
    book: Book,
    event_log: EventLog,
    agreement_log: AgreementLog,
    search: LoanSearch,
    security: Security,
    health: Health,
    issuer: TokenIssuer,
    clients: ClientRegistry,
    attempts: AttemptThrottle,
    identity: Identity,
    poster: LedgerWriter | None = None,
    agreement_poster: AgreementWriter | None = None,
    secure_loans: bool = True,
    serves_page: bool = True,
) -> Flask:
    """Create the application from its parts. It reads no settings and opens nothing.

    Args:
        lookup: Reads loans.
        calendar: Knows the current date.
        portfolio: Reads all loans on a day.
        book: Reads all loans over time.
        event_log: Reads events with their provenance.
        agreement_log: Reads terms and schedules with their provenance.
        search: Finds loans.
        security: Authenticates callers.
        health: Reports on what the service depends on.
        issuer: Signs access tokens.
        clients: The clients that may request tokens.
        attempts: Throttles guesses of clients' secrets.
        identity: Proves the identity of this instance.
        poster: Posts events and creates loans; None if posting is not configured.
        agreement_poster: Posts terms and schedules; None if posting is not configured.
        secure_loans: Whether the routes that read loans require a token. Posting always does.
        serves_page: Whether to serve the page `/app`, which shows loans in a browser.
    """
    app = _Application(
        "service.web",
        info=Info(
            title="Loaner",
            version=__version__,
            description="Exact balances of loans on any date. Amounts are decimal strings. Dates are YYYY-MM-DD.",
        ),
        validation_error_status=400,
        validation_error_model=Problem,
        validation_error_callback=error_handlers.on_validation_error,
        doc_ui=False,
        static_folder=None,
    )
    app.url_map.converters["default"] = _Segment
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    grants = TokenGrants(issuer, clients, attempts)
    access = PageAccess(security)
    error_handlers.register(app, (is_page_path, to_page) if serves_page else None)
    open_blueprints = ("documentation",) if secure_loans else ("documentation", "loan", PAGE_BLUEPRINT)
    guard(app, security, open_blueprints, grants.are_possible, {PAGE_BLUEPRINT: access.check})
    reject_unknown_parameters(app)
    app.register_api(build_loan_routes(lookup, calendar, portfolio, event_log, agreement_log, search))
    app.register_api(build_posting_routes(poster, agreement_poster, lookup, calendar, Caller(security.context)))
    app.register_api(build_token_routes(grants))
    app.register_api(build_jwks_routes(issuer.keys))
    app.register_api(build_operations_routes(health, issuer, identity))
    page_path = PAGE if serves_page else None
    app.register_blueprint(build_documentation_routes(app, open_blueprints, grants.are_possible, page_path))
    if serves_page:
        app.register_blueprint(
            build_page_routes(
                security=security, access=access, grants=grants, secure_loans=secure_loans, lookup=lookup,
                calendar=calendar, portfolio=portfolio, book=book, event_log=event_log,
                agreement_log=agreement_log, search=search,
            )
        )  # fmt: skip
    return app

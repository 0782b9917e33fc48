"""The Flask application, put together from its parts."""

from collections.abc import Callable
from typing import Any

from flask import Flask
from flask_openapi3 import Info, OpenAPI

from security.frameworks.flask import Security
from service import __version__
from service.domain.calendar import Calendar
from service.ledger.posting import LedgerWriter
from service.ledger.timeline_lookup import TimelineLookup
from service.portfolio.sql import SqlPortfolio
from service.tokens.client_registry import ClientRegistry
from service.tokens.issuer import TokenIssuer
from service.tokens.throttle import AttemptThrottle
from service.web import error_handlers as problem
from service.web.access import guard
from service.web.health import Health
from service.web.middleware.fast_balance import FastBalances
from service.web.middleware.request_log import RequestLog
from service.web.middleware.trusted_proxies import TrustedProxies
from service.web.request import StrictRequest
from service.web.routes.docs import documentation_routes
from service.web.routes.jwks import jwks_routes
from service.web.routes.loan import loan_routes
from service.web.routes.operations import operations_routes
from service.web.routes.posting import posting_routes
from service.web.routes.token import token_routes
from service.web.schemas.problem import Problem

MAX_BODY_BYTES = 2_000_000


class _Application(OpenAPI):
    request_class = StrictRequest

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func  # nothing here is a coroutine, and finding out takes longer than most of what is called


def create_app(
    *,
    lookup: TimelineLookup,
    calendar: Calendar,
    portfolio: SqlPortfolio,
    security: Security,
    health: Health,
    issuer: TokenIssuer,
    clients: ClientRegistry,
    attempts: AttemptThrottle,
    poster: LedgerWriter | None = None,
    secure_loans: bool = True,
    trusted_proxies: str = "",
) -> Flask:
    """The application. Wiring only: no settings are read and nothing is opened here.

    poster: who posts, if anybody. secure_loans: whether one needs a token to read loans; to post, always.
    trusted_proxies: networks whose X-Forwarded-* headers count.
    """
    app = _Application(
        "service.web",
        info=Info(
            title="Loaner",
            version=__version__,
            description="What a loan owed, on any day. Amounts are decimal strings; dates are YYYY-MM-DD.",
        ),
        security_schemes={
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "A token of the platform or of POST /token; `make run` puts one into the file .auth.",
            }
        },
        validation_error_status=400,
        validation_error_model=Problem,
        validation_error_callback=problem.on_validation_error,
        doc_ui=False,
        static_folder=None,
    )
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    chain = security.security_chain if secure_loans else None
    logged = RequestLog(FastBalances(app.wsgi_app, lookup, chain))
    app.wsgi_app = TrustedProxies(logged, trusted_proxies)  # type: ignore[method-assign]
    problem.register(app)
    open_blueprints = ("documentation",) if secure_loans else ("documentation", "loan")
    guard(app, security, open_blueprints)
    app.register_api(loan_routes(lookup, calendar, portfolio))
    app.register_api(posting_routes(poster, calendar, security.context))
    app.register_api(token_routes(issuer, clients, attempts))
    app.register_api(jwks_routes(issuer.keys))
    app.register_api(operations_routes(health, issuer))
    app.register_blueprint(documentation_routes(app, open_blueprints))
    return app

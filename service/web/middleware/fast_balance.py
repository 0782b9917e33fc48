"""The fast path for balances: replies before Flask sees the request.

Routing, parsing and building a response in the framework take several times as long as the computation. The fast
path handles only the plainest requests, and passes all others on. Its replies are the same as those of the routes.
"""

import re
from collections.abc import Iterable
from typing import Any

from security import SecurityChain, SecurityMiddleware, ThreadLocalSecurityContext
from security.frameworks.wsgi import Application, Environ
from service.domain.parsing import parse_date, parse_loan_id
from service.ledger.timeline_lookup import TimelineLookup
from service.web import error_handlers
from service.web.access import READ
from service.web.middleware.request_log import ROUTE
from service.web.serializers import balance_members, to_json

_PATH = re.compile(r"(/api/v1/loan)?/([0-9]{1,19})/([0-9-]{10})")
_ROUTES = {prefix: f"{prefix or ''}/<loan_id>/<date>" for prefix in ("/api/v1/loan", None)}
_BALANCE = "loaner.balance"  # the environment's key of the requested loan and day


class FastBalance:
    """WSGI middleware around the framework's application.

    Args:
        application: Handles all other requests.
        lookup: Reads loans.
        chain: Authenticates callers; None if the routes are public.
    """

    def __init__(self, application: Application, lookup: TimelineLookup, chain: SecurityChain | None) -> None:
        self._application = application
        self._lookup = lookup
        self._respond: Application = self._balance
        if chain is not None:
            own_chain = SecurityChain(ThreadLocalSecurityContext(), chain.providers)
            self._respond = SecurityMiddleware(self._balance, own_chain, scopes=(READ,))

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Reply to a plain request for a balance, or pass the request on."""
        match = _PATH.fullmatch(environ["PATH_INFO"])
        if (
            match is None
            or environ["REQUEST_METHOD"] != "GET"
            or environ.get("QUERY_STRING")
            or "HTTP_IF_NONE_MATCH" in environ
        ):
            return self._application(environ, start_response)
        try:
            environ[_BALANCE] = parse_loan_id(match[2]), parse_date(match[3])
        except ValueError:
            return self._application(environ, start_response)
        environ[ROUTE] = _ROUTES[match[1]]
        return self._respond(environ, start_response)

    def _balance(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        loan_id, day = environ[_BALANCE]
        try:
            snapshot = self._lookup.get(loan_id)
            timeline = snapshot.timeline
            body, headers = to_json(balance_members(timeline, day), self._lookup.as_of(snapshot), timeline.version)
        except Exception as err:
            return error_handlers.to_response(err)(environ, start_response)
        start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
        return [body]

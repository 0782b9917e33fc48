"""The plainest question, what a loan owed on a day, answered before the framework looks at the request.

To route a request, parse it and build a reply costs the framework several times what the answer does. Whatever is asked
in another way goes on to the framework, whose replies are the measure: these are the same.
"""

import re
from collections.abc import Iterable
from typing import Any

from security import SecurityChain, SecurityMiddleware, ThreadLocalSecurityContext
from security.frameworks.wsgi import Application, Environ
from service.domain.parsing import parse_date, parse_loan_id
from service.ledger.timeline_lookup import TimelineLookup
from service.web import error_handlers as problem
from service.web.access import READ
from service.web.middleware.request_log import ROUTE
from service.web.serializers import balance_members, to_json

_PATH = re.compile(r"(/api/v1/loan)?/([0-9]{1,19})/([0-9-]{10})")
_ROUTES = {prefix: f"{prefix or ''}/<loan_id>/<date>" for prefix in ("/api/v1/loan", None)}
_ASKED = "loaner.asked"


class FastBalances:
    """WSGI middleware around the framework's application.

    chain: asked as the framework asks it; None opens the routes.
    """

    def __init__(self, application: Application, lookup: TimelineLookup, chain: SecurityChain | None) -> None:
        self._application = application
        self._lookup = lookup
        self._answer: Application = self._reply
        if chain is not None:
            own = SecurityChain(ThreadLocalSecurityContext(), chain.providers)
            self._answer = SecurityMiddleware(self._reply, own, scopes=(READ,))

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        asked = _PATH.fullmatch(environ["PATH_INFO"])
        if (
            asked is None
            or environ["REQUEST_METHOD"] != "GET"
            or environ.get("QUERY_STRING")
            or "HTTP_IF_NONE_MATCH" in environ
        ):
            return self._application(environ, start_response)
        try:
            environ[_ASKED] = parse_loan_id(asked[2]), parse_date(asked[3])
        except ValueError:
            return self._application(environ, start_response)
        environ[ROUTE] = _ROUTES[asked[1]]
        return self._answer(environ, start_response)

    def _reply(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        loan_id, day = environ[_ASKED]
        try:
            snapshot = self._lookup.get(loan_id)
            body, headers = to_json(balance_members(snapshot.timeline, day), self._lookup.as_of(snapshot))
        except Exception as err:
            return problem.reply_to(err)(environ, start_response)
        start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
        return [body]

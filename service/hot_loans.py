"""Balances of loans that this process knows already, answered before the framework looks at the request.

To route a request, parse it and build a reply costs the framework several times what the answer does. Whatever is not a
plain question for such a balance goes on to the framework, whose replies are the measure: these are the same.
"""

import re
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

from security import SecurityChain, SecurityMiddleware, ThreadLocalSecurityContext, scopes_provider
from service.reader import BalanceReader
from service.representation import balance_members, represent
from service.routes.access import READ
from service.timelines import Known
from service.values import date_of, loan_id_of

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

_PATH = re.compile(r"(/api/v1/loan)?/([0-9]{1,19})/([0-9-]{10})")
_FOUND = "loaner.hot"


class HotLoans:
    """WSGI middleware around the framework's application.

    chain: asked as the framework asks it; None opens the routes.
    """

    def __init__(self, application: Application, reader: BalanceReader, chain: SecurityChain | None) -> None:
        self._application = application
        self._reader = reader
        self._answer: Application = self._reply
        if chain is not None:
            providers = [*chain.providers, scopes_provider(READ)]
            self._answer = SecurityMiddleware(self._reply, SecurityChain(ThreadLocalSecurityContext(), providers))

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        found = self._find(environ)
        if found is None:
            return self._application(environ, start_response)
        environ[_FOUND] = found
        return self._answer(environ, start_response)

    def _find(self, environ: Environ) -> tuple[Known, date] | None:
        asked = _PATH.fullmatch(environ["PATH_INFO"])
        if (
            asked is None
            or environ["REQUEST_METHOD"] != "GET"
            or environ.get("QUERY_STRING")
            or "HTTP_IF_NONE_MATCH" in environ
        ):
            return None
        try:
            loan_id, day = loan_id_of(asked[2]), date_of(asked[3])
        except ValueError:
            return None
        known = self._reader.recent_loan(loan_id)
        return (known, day) if known is not None else None

    def _reply(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        known, day = environ[_FOUND]
        body, headers = represent(balance_members(self._reader.balance_of(known, day)), self._reader.as_of(known))
        start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
        return [body]

"""Balances without the framework: the plainest requests, whose replies are the same as those of the routes.

Routing, parsing and building a reply in the framework take several times as long as the computation.
"""

import re
from collections.abc import Callable
from datetime import date
from typing import NamedTuple

from security import Auth
from service.domain.parsing import parse_date, parse_loan_id
from service.ledger.timeline_lookup import LoanSnapshot, TimelineLookup
from service.web.access import READ
from service.web.door.exchange import ReplyHeaders
from service.web.door.framing import Headers, Scope
from service.web.serializers import balance_members, to_json

_PATH = re.compile(r"(/api/v1/loan)?/([0-9]{1,19})/([0-9-]{10})")
_ROUTES = {prefix: f"{prefix or ''}/<loan_id>/<date>" for prefix in ("/api/v1/loan", None)}
_CONDITIONS = (b"if-none-match", b"transfer-encoding", b"content-length")  # the framework handles requests with these


class Question(NamedTuple):
    """A plain request for a balance, from a caller who may read it."""

    route: str
    loan_id: int
    day: date


class PlainBalances:
    """Answers plain requests for balances.

    Args:
        lookup: Reads loans.
        remembered: Returns the identity of an Authorization header if it is known; None if the routes are public.
    """

    def __init__(self, lookup: TimelineLookup, remembered: Callable[[str], Auth | None] | None) -> None:
        self.get_cached = lookup.get_cached
        self.get = lookup.get
        self._as_of = lookup.as_of
        self._remembered = remembered

    def match(self, scope: Scope, headers: Headers) -> Question | None:
        """Return the question of a request; None if the framework has to answer it.

        That includes requests whose token has not been verified yet, which takes too long for an event loop.
        """
        match = _PATH.fullmatch(scope["path"])
        if match is None or scope["method"] != "GET" or scope["query_string"]:
            return None
        for condition in _CONDITIONS:
            if condition in headers:
                return None
        if self._remembered is not None:
            auth = self._remembered(headers.get(b"authorization", b"").decode("latin-1"))
            if auth is None or not auth.has_scopes((READ,)):
                return None
        try:
            return Question(_ROUTES[match[1]], parse_loan_id(match[2]), parse_date(match[3]))
        except ValueError:
            return None

    def reply(self, question: Question, snapshot: LoanSnapshot) -> tuple[bytes, ReplyHeaders]:
        """Return the body and the headers of a reply."""
        timeline = snapshot.timeline
        members = balance_members(timeline, question.day)
        body, headers = to_json(members, self._as_of(snapshot), timeline.version)
        encoded = [(name.lower().encode(), value.encode()) for name, value in headers]
        encoded.append((b"content-length", b"%d" % len(body)))
        return body, encoded

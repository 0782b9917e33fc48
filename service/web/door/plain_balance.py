"""Balances without the framework: the plainest requests, whose replies are the same as those of the routes.

Routing, parsing and building a reply in the framework take several times as long as the computation.
"""

import re
from collections.abc import Callable
from datetime import date, datetime
from functools import lru_cache
from typing import NamedTuple

import orjson

from security import Auth
from service.domain.parsing import parse_date, parse_loan_id
from service.ledger.timeline_lookup import LoanSnapshot, TimelineLookup
from service.web.access import READ
from service.web.door.exchange import ReplyHeaders
from service.web.door.framing import Headers, Scope
from service.web.serializers import CACHE_CONTROL, as_of_header, balance_members, etag

_PATH = re.compile(r"(/api/v1/loan)?/([0-9]{1,19})/([0-9-]{10})")
_ROUTES = {prefix: f"{prefix or ''}/<loan_id>/<date>" for prefix in ("/api/v1/loan", None)}
_REQUIRED = (READ,)
# The framework handles requests with these headers.
_CONDITIONS = frozenset((b"if-none-match", b"transfer-encoding", b"content-length"))


class Question(NamedTuple):
    """A plain request for a balance, from a caller who may read it."""

    route: str
    loan_id: int
    day: date
    caller: str


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
        if not _CONDITIONS.isdisjoint(headers):
            return None
        caller = ""
        if self._remembered is not None:
            auth = self._remembered(headers.get(b"authorization", b"").decode("latin-1"))
            if auth is None or not auth.has_scopes(_REQUIRED):
                return None
            caller = auth.user_id
        prefix, loan_id, day = match.groups()
        try:
            return Question(_ROUTES[prefix], parse_loan_id(loan_id), parse_date(day), caller)
        except ValueError:
            return None

    def reply(self, question: Question, snapshot: LoanSnapshot) -> tuple[bytes, ReplyHeaders]:
        """Return the body and the headers of a reply."""
        timeline = snapshot.timeline
        body = orjson.dumps(balance_members(timeline, question.day))
        as_of = self._as_of(snapshot)
        assert as_of is not None  # only replies for a time in the past are immutable
        return body, [
            _CONTENT_TYPE,
            (b"etag", etag(body, timeline.version).encode()),
            _encode_as_of(as_of),
            _CACHE_CONTROL,
            (b"content-length", b"%d" % len(body)),
        ]


def _encode(header: tuple[str, str]) -> tuple[bytes, bytes]:
    return header[0].lower().encode(), header[1].encode()


_CONTENT_TYPE = _encode(("Content-Type", "application/json"))
_CACHE_CONTROL = _encode(CACHE_CONTROL)


@lru_cache(1024)  # of many replies, the time is the same
def _encode_as_of(as_of: datetime) -> tuple[bytes, bytes]:
    return _encode(as_of_header(as_of))

"""Replies in JSON, and replies from the ledger that clients can revalidate."""

from typing import Any

import orjson
from flask import Response, request
from pydantic import BaseModel

from service.ledger.timeline_lookup import LoanSnapshot, TimelineLookup
from service.web.schemas.headers import LEDGER_HEADERS, LOAN_HEADERS, with_headers
from service.web.serializers import to_json


def json_reply(members: dict[str, Any], status: int = 200) -> Response:
    """Build a reply in JSON.

    Args:
        members: Values that orjson can serialize; amounts are strings.
        status: The HTTP status.
    """
    return Response(orjson.dumps(members), status, content_type="application/json")


class LedgerReply(BaseModel):
    """A reply from the ledger about several loans."""

    model_config = with_headers(LEDGER_HEADERS)


class LoanLedgerReply(BaseModel):
    """A reply from the ledger about one loan."""

    model_config = with_headers(LOAN_HEADERS)


def ledger_reply(lookup: TimelineLookup, snapshot: LoanSnapshot, members: dict[str, Any]) -> Response:
    """Build a reply about a loan, or 304 if `If-None-Match` matches it.

    Args:
        lookup: Knows how fresh the loan is.
        snapshot: The loan from which the members were computed.
        members: The members of the reply.
    """
    body, headers = to_json(members, lookup.as_of(snapshot), snapshot.timeline.version)
    return conditional(Response(body, headers=headers))


def conditional(response: Response) -> Response:
    """Return the reply, changed to 304 if `If-None-Match` matches it."""
    if "If-None-Match" in request.headers:
        response.make_conditional(request)
    return response

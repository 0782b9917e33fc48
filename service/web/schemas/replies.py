"""A reply from a loan's ledger, which need not be sent again to whoever has it."""

from typing import Any

import orjson
from flask import Response, request
from pydantic import BaseModel

from service.ledger.timeline_lookup import LoanSnapshot, TimelineLookup
from service.web.schemas.headers import LEDGER_HEADERS, with_headers
from service.web.serializers import to_json


def json_reply(members: dict[str, Any], status: int = 200) -> Response:
    """members: what orjson can write; amounts are strings already."""
    return Response(orjson.dumps(members), status, content_type="application/json")


class LedgerReply(BaseModel):
    """The members of such a reply. Its headers are documented with it."""

    model_config = with_headers(LEDGER_HEADERS)


def ledger_reply(lookup: TimelineLookup, snapshot: LoanSnapshot, members: dict[str, Any]) -> Response:
    """The members in JSON, with headers that tell how fresh they are; 304 if the caller says that it has them."""
    body, headers = to_json(members, lookup.as_of(snapshot))
    return conditional(Response(body, headers=headers))


def conditional(response: Response) -> Response:
    """The same reply, or 304 where `If-None-Match` names it."""
    if "If-None-Match" in request.headers:
        response.make_conditional(request)
    return response

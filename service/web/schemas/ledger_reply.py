"""A reply from a loan's ledger, which need not be sent again to whoever has it."""

from typing import Any

from flask import Response, request
from pydantic import BaseModel

from service.ledger.reader import BalanceReader
from service.ledger.timeline_lookup import LoanSnapshot
from service.web.schemas.headers import LEDGER_HEADERS, with_headers
from service.web.serializers import to_json


class LedgerReply(BaseModel):
    """The members of such a reply. Its headers are documented with it."""

    model_config = with_headers(LEDGER_HEADERS)


def ledger_reply(reader: BalanceReader, known: LoanSnapshot, members: dict[str, Any]) -> Response:
    """The members in JSON, with headers that tell how fresh they are; 304 if the caller says that it has them."""
    body, headers = to_json(members, reader.as_of(known))
    return conditional(Response(body, headers=headers))


def conditional(response: Response) -> Response:
    """The same reply, or 304 where `If-None-Match` names it."""
    if "If-None-Match" in request.headers:
        response.make_conditional(request)
    return response

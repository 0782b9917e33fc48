"""Creating loans, and posting what they cost and what is paid."""

import logging
from typing import Any

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from security.context import SecurityContext
from service.domain.calendar import Calendar
from service.ledger.idempotency import RequestFingerprint, fingerprint
from service.ledger.posting import LedgerWriter, PostResult
from service.web.access import WRITE, needs
from service.web.error_handlers import reply
from service.web.routes.loan import LoanReply
from service.web.schemas.headers import LEDGER_HEADERS, LOCATION, REPLAYED, with_headers
from service.web.schemas.loan_query import LoanPath
from service.web.schemas.posting import EventsBody, LoanBody, PostingHeaders
from service.web.schemas.problem import problems
from service.web.schemas.query_fields import Currency, Day, LoanId, Money, Version
from service.web.serializers import to_json

log = logging.getLogger(__name__)

REPEATED = "Idempotent-Replayed"
_REFUSALS = problems(400, 404, 409, 413, 415, 422, 503)


class PostedEvent(BaseModel):
    """An event as the ledger has it."""

    tx_id: int = Field(description="what a reversal names", json_schema_extra={"example": 71})
    version: Version = Field(description="the version of the loan that it made")


class PostedReply(BaseModel):
    """What became of the loan. events: in the order in which they were sent."""

    model_config = with_headers({**LEDGER_HEADERS, **REPLAYED})

    loan_id: LoanId
    date: Day = Field(description="today, in the service's time zone")
    balance: Money
    currency: Currency
    version: Version = Field(description="the loan's, with these events: for min_version")
    events: list[PostedEvent]


class CreatedReply(LoanReply):
    """The terms of a loan that there is now, and what it owes today."""

    model_config = with_headers({**LEDGER_HEADERS, **REPLAYED, **LOCATION})


def posting_routes(poster: LedgerWriter | None, calendar: Calendar, context: SecurityContext) -> APIBlueprint:
    """The blueprint `posting`. poster: None makes every route 404. context: who asks."""
    routes = APIBlueprint("posting", __name__, abp_tags=[Tag(name="posting", description="What is lent, due and paid")])

    def caller() -> str:
        auth = context.get_auth()
        assert auth is not None  # the chain lets nobody in without
        return auth.user_id

    def claim(key: str, asked: dict[str, Any]) -> RequestFingerprint | None:
        return fingerprint(caller(), key, {"path": request.path, **asked}) if key else None

    def told(posted: PostResult, **headers: str) -> Response:
        body, always = to_json(posted.body, posted.as_of)
        response = Response(body, 201, always)
        response.headers.update({**headers, REPEATED: "true"} if posted.replayed else headers)
        return response

    @routes.before_request
    def refuse_unless_set_up() -> Response | None:
        return reply(404, "this service posts nothing") if poster is None and request.method == "POST" else None

    @routes.post(
        "/api/v1/loan/<loan_id>/events",
        summary="Post events of a loan",
        responses={201: PostedReply, **_REFUSALS},
    )
    @needs(WRITE)
    def post_events(path: LoanPath, header: PostingHeaders, body: EventsBody) -> Response:
        """Fees, interest and payments, or reversals of such, on any day: all of them or none. The reply counts them."""
        assert poster is not None
        asked = claim(header.idempotency_key, body.model_dump(mode="json", exclude_defaults=True))
        posted = poster.post_events(path.loan_id, body.new_events(), calendar.today(), asked)
        done = "had already posted" if posted.replayed else "posted"
        log.info("%a %s %d events to loan %d: version %d", caller(), done, len(body.events), path.loan_id,
                 posted.body["version"])  # fmt: skip
        return told(posted)

    @routes.post(
        "/api/v1/loan",
        summary="Create a loan",
        responses={201: CreatedReply, **_REFUSALS},
    )
    @needs(WRITE)
    def create_loan(header: PostingHeaders, body: LoanBody) -> Response:
        """Terms, which stand from then on. Events are posted to it afterwards."""
        assert poster is not None
        asked = claim(header.idempotency_key, body.model_dump(mode="json", exclude_defaults=True))
        posted = poster.create_loan(body.loan(), calendar.today(), asked)
        log.info("%a %s loan %d", caller(), "had already created" if posted.replayed else "created", body.loan_id)
        return told(posted, Location=f"{request.script_root}/api/v1/loan/{body.loan_id}")

    return routes

"""Routes: creating loans and posting events."""

import logging
from collections.abc import Callable
from functools import partial

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from security.context import SecurityContext
from service.domain.calendar import Calendar
from service.errors import InvalidRequest, VersionChanged
from service.ledger.idempotency import RequestFingerprint, fingerprint
from service.ledger.posting import LedgerWriter, PostResult
from service.plural import counted
from service.web.access import WRITE, requires_scope
from service.web.error_handlers import problem_response
from service.web.routes.loan import LoanReply
from service.web.schemas.headers import LOAN_HEADERS, LOCATION, REPLAYED, with_headers
from service.web.schemas.loan_query import LoanPath
from service.web.schemas.posting import ANY_VERSION, EventsBody, EventsHeaders, LoanBody, PostingHeaders
from service.web.schemas.problem import problems
from service.web.schemas.query_fields import Currency, Day, LoanId, Money, RecordedAt, Version
from service.web.serializers import to_json

log = logging.getLogger(__name__)

NO_VERSION = -1  # the version of no loan
REPLAYED_HEADER = "Idempotent-Replayed"
_ERROR_RESPONSES = problems(400, 404, 409, 412, 413, 415, 422, 503)


class PostedEvent(BaseModel):
    """A posted event."""

    tx_id: int = Field(description="The transaction id, which a reversal refers to.", json_schema_extra={"example": 71})
    version: Version = Field(description="The loan's version with this event.")


class PostedReply(BaseModel):
    """The posted events, in the order of the request, and the loan's balance today."""

    model_config = with_headers({**LOAN_HEADERS, **REPLAYED})

    loan_id: LoanId
    date: Day = Field(description="Today, in the service's time zone.")
    balance: Money
    currency: Currency
    version: Version = Field(description="The loan's version with these events. Use it as `min_version` to read them.")
    recorded_at: RecordedAt
    events: list[PostedEvent]


class CreatedReply(LoanReply):
    """The created loan's terms and its balance today."""

    model_config = with_headers({**LOAN_HEADERS, **REPLAYED, **LOCATION})

    recorded_at: RecordedAt


def build_posting_routes(poster: LedgerWriter | None, calendar: Calendar, context: SecurityContext) -> APIBlueprint:
    """Build the blueprint `posting`.

    Args:
        poster: Posts to the ledger; None makes every route 404.
        calendar: Knows the current date.
        context: Has the identity of the caller.
    """
    routes = APIBlueprint(
        "posting", __name__, abp_tags=[Tag(name="posting", description="Creating loans and posting events")]
    )

    def caller() -> str:
        auth = context.get_auth()
        assert auth is not None  # the chain rejects requests without an identity
        return auth.user_id

    def fingerprint_of(key: str, body: BaseModel) -> RequestFingerprint | None:
        if not key:
            return None
        members = body.model_dump(mode="json", exclude_defaults=True)
        return fingerprint(caller(), key, {"path": request.path, **members})

    def created(posted: PostResult, **headers: str) -> Response:
        body, ledger_headers = to_json(posted.body, posted.as_of, posted.body["version"])
        response = Response(body, 201, ledger_headers)
        response.headers.update({**headers, REPLAYED_HEADER: "true"} if posted.replayed else headers)
        return response

    @routes.before_request
    def reject_unless_configured() -> Response | None:
        if poster is None and request.method == "POST":
            return problem_response(404, "posting is not configured on this service")
        return None

    @routes.post(
        "/api/v1/loan/<loan_id>/events",
        summary="Post events to a loan",
        responses={201: PostedReply, **_ERROR_RESPONSES},
    )
    @requires_scope(WRITE)
    def post_events(path: LoanPath, header: EventsHeaders, body: EventsBody) -> Response:
        """Post fees, interest and payments, or reversals of these, on any date.

        All events are posted, or none. The reply includes them. Send an `Idempotency-Key` to make the request safe
        to retry. With `If-Match` or `expected_version`, the events are posted only to that version of the loan.
        """
        assert poster is not None
        posted = _post_to_expected_version(
            _expected_versions(header, body),
            partial(
                poster.post_events,
                path.loan_id,
                body.to_events(),
                calendar.today(),
                fingerprint_of(header.idempotency_key, body),
                posted_by=caller(),
            ),
        )
        verb = "already posted" if posted.replayed else "posted"
        log.info("%a %s %s to loan %d: version %d", caller(), verb, counted(len(body.events), "event"), path.loan_id,
                 posted.body["version"])  # fmt: skip
        return created(posted)

    @routes.post(
        "/api/v1/loan",
        summary="Create a loan",
        responses={201: CreatedReply, **_ERROR_RESPONSES},
    )
    @requires_scope(WRITE)
    def create_loan(header: PostingHeaders, body: LoanBody) -> Response:
        """Create a loan from its terms, which cannot be changed later.

        Send an `Idempotency-Key` to make the request safe to retry.
        """
        assert poster is not None
        if "If-Match" in request.headers:
            raise InvalidRequest([("If-Match", "not allowed: a loan that does not exist has no version")])
        key = fingerprint_of(header.idempotency_key, body)
        posted = poster.create_loan(body.to_loan(), calendar.today(), key, posted_by=caller())
        log.info("%a %s loan %d", caller(), "already created" if posted.replayed else "created", body.loan_id)
        return created(posted, Location=f"{request.script_root}/api/v1/loan/{body.loan_id}")

    return routes


def _expected_versions(header: EventsHeaders, body: EventsBody) -> tuple[int, ...] | None:
    """Return the versions that the loan may have; None means any.

    Raises:
        InvalidRequest: If the header and the body contradict each other.
    """
    in_header = header.if_match.versions if header.if_match is not None else None
    if body.expected_version == ANY_VERSION:
        return in_header
    if in_header is not None and body.expected_version not in in_header:
        raise InvalidRequest([("If-Match", "contradicts `expected_version`")])
    return (body.expected_version,)


def _post_to_expected_version(versions: tuple[int, ...] | None, post: Callable[..., PostResult]) -> PostResult:
    """Post if the loan has one of these versions. Each attempt checks one of them under the loan's lock.

    Raises:
        VersionChanged: If it has none of them.
    """
    if versions is None:
        return post(expected_version=None)
    expected = versions[-1] if versions else NO_VERSION
    while True:
        try:
            return post(expected_version=expected)
        except VersionChanged as err:
            if err.version not in versions:
                raise VersionChanged(err.loan_id, err.version, versions) from err
            expected = err.version

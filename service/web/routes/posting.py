"""Routes: creating loans and posting events."""

import logging
from functools import partial

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from service.domain.calendar import Calendar
from service.errors import InvalidRequest
from service.ledger.accrual import AccrualWriter
from service.ledger.agreement_posting import AgreementWriter
from service.ledger.posting import LedgerWriter
from service.ledger.timeline_lookup import TimelineLookup
from service.plural import counted
from service.web.access import WRITE, requires_scope
from service.web.error_handlers import problem_response
from service.web.routes.accrual import add_accrual_route
from service.web.routes.agreement_posting import add_agreement_posting_routes
from service.web.routes.loan import LoanReply
from service.web.routes.posting_request import Caller, created, expected_versions, post_to_expected_version
from service.web.schemas.headers import LOAN_HEADERS, LOCATION, REPLAYED, with_headers
from service.web.schemas.loan_query import LoanPath
from service.web.schemas.posted import PostedReply
from service.web.schemas.posting import EventsBody, LoanBody, PostingHeaders, VersionHeaders
from service.web.schemas.problem import problems
from service.web.schemas.query_fields import RecordedAt

log = logging.getLogger(__name__)

_ERROR_RESPONSES = problems(400, 404, 409, 412, 413, 415, 422, 503)


class CreatedReply(LoanReply):
    """The created loan's terms and its balance today."""

    model_config = with_headers({**LOAN_HEADERS, **REPLAYED, **LOCATION})

    recorded_at: RecordedAt


def build_posting_routes(
    poster: LedgerWriter | None,
    agreement_poster: AgreementWriter | None,
    lookup: TimelineLookup,
    calendar: Calendar,
    caller: Caller,
) -> APIBlueprint:
    """Build the blueprint `posting`.

    Args:
        poster: Posts events and creates loans; None makes every route 404.
        agreement_poster: Posts terms and schedules; None if `poster` is.
        lookup: Reads loans, to compute schedules and interest.
        calendar: Knows the current date.
        caller: The caller of a request.
    """
    routes = APIBlueprint(
        "posting", __name__, abp_tags=[Tag(name="posting", description="Creating loans and posting to them")]
    )

    accrual = AccrualWriter(lookup, poster) if poster else None

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
    def post_events(path: LoanPath, header: VersionHeaders, body: EventsBody) -> Response:
        """Post fees, interest, payments and credits of interest, or reversals of these, on any date.

        All events are posted, or none. The reply includes them. Send an `Idempotency-Key` to make the request safe
        to retry. With `If-Match` or `expected_version`, the events are posted only to that version of the loan. With
        `accrue`, each payment also pays what has accrued by its date and was not charged yet.
        """
        assert poster is not None
        assert accrual is not None
        request_of = (
            path.loan_id, body.to_events(), calendar.today(), caller.fingerprint_of(header.idempotency_key, body),
        )  # fmt: skip
        versions = expected_versions(header, body)
        if body.accrue:
            posted = accrual.post_events(*request_of, posted_by=caller.name, versions=versions)
        else:
            post = partial(poster.post_events, *request_of, posted_by=caller.name)
            posted = post_to_expected_version(versions, post)
        verb = "already posted" if posted.replayed else "posted"
        log.info("%a %s %s to loan %d: version %d", caller.name, verb, counted(len(posted.body["events"]), "event"),
                 path.loan_id, posted.body["version"])  # fmt: skip
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
        key = caller.fingerprint_of(header.idempotency_key, body)
        posted = poster.create_loan(body.to_loan(), calendar.today(), key, posted_by=caller.name)
        log.info("%a %s loan %d", caller.name, "already created" if posted.replayed else "created", body.loan_id)
        return created(posted, Location=f"{request.script_root}/api/v1/loan/{body.loan_id}")

    add_accrual_route(routes, accrual, lookup, calendar, caller, _ERROR_RESPONSES)
    add_agreement_posting_routes(routes, agreement_poster, lookup, caller, _ERROR_RESPONSES)
    return routes

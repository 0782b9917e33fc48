"""Routes: posting terms and schedules of loans."""

import logging
from functools import partial
from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint

from service.domain.schedule import ScheduleMethod
from service.ledger.agreement_posting import AgreementWriter, Origin, Reversal
from service.ledger.posting import PostResult
from service.ledger.timeline_lookup import TimelineLookup
from service.web.access import WRITE, requires_scope
from service.web.routes.computed_schedule import post_computed_schedule
from service.web.routes.posting_request import Caller, created, expected_versions, post_to_expected_version
from service.web.schemas.agreement import ScheduleBody, TermsBody
from service.web.schemas.loan_query import LoanPath
from service.web.schemas.posting import VersionHeaders
from service.web.schemas.recorded_agreement import PostedScheduleReply, PostedTermsReply

log = logging.getLogger(__name__)


def add_agreement_posting_routes(
    routes: APIBlueprint,
    poster: AgreementWriter | None,
    lookup: TimelineLookup,
    caller: Caller,
    errors: dict[int | str, Any],
) -> None:
    """Add the routes to a blueprint that replies 404 if `poster` is None.

    Args:
        routes: The blueprint.
        poster: Posts to the ledger.
        lookup: Reads loans, to compute schedules.
        caller: The caller of a request.
        errors: The documentation of the error statuses.
    """

    def origin_of(header: VersionHeaders, body: TermsBody | ScheduleBody) -> Origin:
        key = caller.fingerprint_of(header.idempotency_key, body)
        return Origin(caller.name, body.source_id or None, body.memo or None, key)

    def note(posted: PostResult, what: str, loan_id: int) -> None:
        verb = "already posted" if posted.replayed else "posted"
        log.info("%a %s %s of loan %d: version %d", caller.name, verb, what, loan_id, posted.body["version"])

    @routes.post(
        "/api/v1/loan/<loan_id>/terms",
        summary="Post terms of a loan",
        responses={201: PostedTermsReply, **errors},
    )
    @requires_scope(WRITE)
    def post_terms(path: LoanPath, header: VersionHeaders, body: TermsBody) -> Response:
        """Post the rate, day count, order of allocation and grace days of a loan from a day on, or take some back.

        Of the terms with one effective date, the last posted ones apply. An effective date may be any date outside
        closed periods. Send an `Idempotency-Key` to make the request safe to retry. With `If-Match` or
        `expected_version`, the terms are posted only to that version of the loan.
        """
        assert poster is not None
        terms = body.to_terms()
        posted = post_to_expected_version(
            expected_versions(header, body),
            partial(poster.post_terms, path.loan_id, terms, origin_of(header, body)),
        )
        note(posted, "a reversal of terms" if isinstance(terms, Reversal) else "terms", path.loan_id)
        return created(posted)

    @routes.post(
        "/api/v1/loan/<loan_id>/schedule",
        summary="Post a schedule of a loan",
        responses={201: PostedScheduleReply, **errors},
    )
    @requires_scope(WRITE)
    def post_schedule(path: LoanPath, header: VersionHeaders, body: ScheduleBody) -> Response:
        """Post the installments of a loan from a day on, or a method that computes them; or take a schedule back.

        Of the schedules with one effective date, the last posted one applies. An effective date may be any date outside
        closed periods, and a due date any date. Computed installments are stored: they do not change with the loan.
        Send an `Idempotency-Key` to make the request safe to retry. With `If-Match` or `expected_version`, the schedule
        is posted only to that version of the loan.
        """
        assert poster is not None
        schedule = body.to_schedule()
        origin, versions = origin_of(header, body), expected_versions(header, body)
        if isinstance(schedule, ScheduleMethod):
            posted = post_computed_schedule(
                poster, lookup, path.loan_id, body.effective_date, schedule, origin, versions
            )
        else:
            posted = post_to_expected_version(versions, partial(poster.post_schedule, path.loan_id, schedule, origin))
        note(posted, "a reversal of a schedule" if isinstance(schedule, Reversal) else "a schedule", path.loan_id)
        return created(posted)

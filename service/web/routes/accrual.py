"""Route: charging the interest that has accrued to a loan."""

import logging
from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint

from service.domain.calendar import Calendar
from service.ledger.accrual import AccrualWriter
from service.ledger.posting import PostResult
from service.ledger.timeline_lookup import TimelineLookup
from service.web.access import WRITE, requires_scope
from service.web.routes.posting_request import Caller, created, expected_versions
from service.web.schemas.loan_query import LoanPath
from service.web.schemas.posted import NothingChargedReply, PostedReply
from service.web.schemas.posting import AccrualBody, VersionHeaders
from service.web.serializers import balance_members, to_json

log = logging.getLogger(__name__)


def add_accrual_route(
    routes: APIBlueprint,
    accrual: AccrualWriter | None,
    lookup: TimelineLookup,
    calendar: Calendar,
    caller: Caller,
    errors: dict[int | str, Any],
) -> None:
    """Add the route to a blueprint that replies 404 if `accrual` is None.

    Args:
        routes: The blueprint.
        accrual: Charges interest.
        lookup: Knows how fresh a loan is.
        calendar: Knows the current date.
        caller: The caller of a request.
        errors: The documentation of the error statuses.
    """

    @routes.post(
        "/api/v1/loan/<loan_id>/accrue",
        summary="Charge the interest that has accrued",
        responses={200: NothingChargedReply, 201: PostedReply, **errors},
    )
    @requires_scope(WRITE)
    def accrue(path: LoanPath, header: VersionHeaders, body: AccrualBody) -> Response:
        """Charge what has accrued by a date and was not charged yet, as `interest` dated that day.

        What was charged too much becomes an `interest_credit`. If nothing is to be charged, nothing is posted, the
        status is 200, and an `Idempotency-Key` is not used up. A date before interest of the loan is refused. A
        repetition charges nothing, with or without a key, and after a back-dated correction the difference.
        """
        assert accrual is not None
        today = calendar.today()
        done = accrual.accrue(
            path.loan_id,
            body.date,
            today,
            caller.fingerprint_of(header.idempotency_key, body),
            posted_by=caller.name,
            versions=expected_versions(header, body),
        )
        if isinstance(done, PostResult):
            verb = "already charged" if done.replayed else "charged"
            log.info("%a %s interest through %s to loan %d: version %d", caller.name, verb, body.date, path.loan_id,
                     done.body["version"])  # fmt: skip
            return created(done)
        members = {**balance_members(done.timeline, today), "events": []}
        reply, headers = to_json(members, lookup.as_of(done), done.timeline.version)
        return Response(reply, headers=headers)

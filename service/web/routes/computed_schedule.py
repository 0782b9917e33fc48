"""Posts a schedule whose installments are computed from the loan."""

from datetime import date
from decimal import Decimal

from native import PARTS, Timeline, balance_parts, day_number
from service.domain.schedule import ScheduleMethod, make_installments
from service.errors import InvalidRequest, PostingRefused, RequestRefused, VersionChanged, VersionNotReached
from service.ledger.agreement_posting import AgreementWriter, NewSchedule, Origin
from service.ledger.posting import PostResult
from service.ledger.timeline_lookup import TimelineLookup

_ATTEMPTS = 2


def post_computed_schedule(
    poster: AgreementWriter,
    lookup: TimelineLookup,
    loan_id: int,
    effective_date: date,
    method: ScheduleMethod,
    origin: Origin,
    versions: tuple[int, ...] | None,
) -> PostResult:
    """Compute installments from a version of the loan, and post them to that version.

    Args:
        poster: Posts to the ledger.
        lookup: Reads loans.
        loan_id: The loan.
        effective_date: The day from which the schedule applies.
        method: How to compute the installments.
        origin: Who posts the schedule and why.
        versions: The versions that the loan may have; None means any.

    Raises:
        InvalidRequest: If the method does not fit the effective date.
        PostingRefused: If the loan has no such schedule.
        VersionChanged: If the loan has none of these versions.
        RequestRefused: If the loan changed in every attempt.
    """
    done = poster.find_outcome(origin.fingerprint)
    if done is not None:
        return done
    min_version = 0
    for _ in range(_ATTEMPTS):
        timeline = _read(lookup, loan_id, min_version, versions)
        schedule = _compute(timeline, effective_date, method)
        try:
            return poster.post_schedule(loan_id, schedule, origin, expected_version=timeline.version)
        except VersionChanged as err:
            min_version = err.version
    raise RequestRefused(503, f"loan {loan_id} changed while its schedule was computed; retry later", retry_after_s=1)


def _read(lookup: TimelineLookup, loan_id: int, min_version: int, versions: tuple[int, ...] | None) -> Timeline:
    """Return the loan in its present version, or in an older one that a cache holds: posting to it then fails.

    Raises:
        VersionChanged: If the loan has none of the versions that it may have.
    """
    timeline = lookup.get(loan_id, min_version).timeline
    if versions is None or timeline.version in versions:
        return timeline
    later = [version for version in versions if version > timeline.version]
    try:
        timeline = lookup.get(loan_id, later[0]).timeline if later else timeline
    except VersionNotReached as err:
        raise VersionChanged(loan_id, err.version, versions) from err
    if timeline.version not in versions:
        raise VersionChanged(loan_id, timeline.version, versions)
    return timeline


def _compute(timeline: Timeline, effective_date: date, method: ScheduleMethod) -> NewSchedule:
    if method.first_due_date <= effective_date:
        raise InvalidRequest([("first_due_date", "expected a date after `effective_date`")])
    principal = balance_parts(timeline, day_number(effective_date))[PARTS.index("principal")]
    try:
        installments = make_installments(method, principal, effective_date, timeline.terms)
    except OverflowError as err:
        raise PostingRefused([("method", "the installments would exceed what the ledger can store")]) from err
    except ValueError as err:
        raise PostingRefused([("method", str(err))]) from err
    members = {
        "name": method.name,
        "count": method.count,
        "first_due_date": method.first_due_date.isoformat(),
        "every_months": method.every_months,
        "end_of_month": method.end_of_month,
    }
    amounts = [(day, Decimal(amount).scaleb(-timeline.exponent)) for day, amount in installments]
    return NewSchedule(effective_date, amounts, members)

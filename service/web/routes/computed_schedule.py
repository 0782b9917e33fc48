"""Posts a schedule whose installments are computed from the loan."""

from datetime import date
from decimal import Decimal

from native import PARTS, Timeline, balance_parts, day_number
from service.domain.schedule import ScheduleMethod, make_installments
from service.errors import InvalidRequest, PostingRefused
from service.ledger.agreement_posting import AgreementWriter, NewSchedule, Origin
from service.ledger.computed_posting import post_computed
from service.ledger.posting import PostResult
from service.ledger.timeline_lookup import LoanSnapshot, TimelineLookup

_MAX_SUM = 2**63 - 1  # minor units
_TOO_LARGE = "the installments would exceed what the ledger can store"


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

    def post(snapshot: LoanSnapshot) -> PostResult:
        schedule = _compute(snapshot.timeline, effective_date, method)
        return poster.post_schedule(loan_id, schedule, origin, expected_version=snapshot.timeline.version)

    return poster.find_outcome(origin.fingerprint) or post_computed(lookup, loan_id, versions, post)


def _compute(timeline: Timeline, effective_date: date, method: ScheduleMethod) -> NewSchedule:
    if method.first_due_date <= effective_date:
        raise InvalidRequest([("first_due_date", "expected a date after `effective_date`")])
    principal = balance_parts(timeline, day_number(effective_date))[PARTS.index("principal")]
    try:
        installments = make_installments(method, principal, effective_date, timeline.terms)
    except OverflowError as err:
        raise PostingRefused([("method", _TOO_LARGE)]) from err
    except ValueError as err:
        raise PostingRefused([("method", str(err))]) from err
    if sum(amount for _, amount in installments) > _MAX_SUM:
        raise PostingRefused([("method", _TOO_LARGE)])
    members = {
        "name": method.name,
        "count": method.count,
        "first_due_date": method.first_due_date.isoformat(),
        "every_months": method.every_months,
        "end_of_month": method.end_of_month,
    }
    amounts = [(day, Decimal(amount).scaleb(-timeline.exponent)) for day, amount in installments]
    return NewSchedule(effective_date, amounts, members)

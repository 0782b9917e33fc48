"""What questions about one loan have in common: which loan, and how new its ledger has to be."""

from pydantic import BaseModel

from native import to_date
from service.domain.calendar import Calendar
from service.domain.date_range import DateRange
from service.errors import InvalidRequest
from service.ledger.timeline_lookup import LoanSnapshot, TimelineLookup
from service.web.schemas.common import Query
from service.web.schemas.headers import LEDGER_HEADERS, not_modified
from service.web.schemas.problem import problems
from service.web.schemas.query_fields import AsOfVersion, FirstDay, KnownAt, LastDay, LoanId, MinVersion

_ONE_OF = ("known_at", "as_of_version", "min_version")
REFUSALS = {**not_modified(LEDGER_HEADERS), **problems(400, 404, 412, 503)}


class LoanPath(BaseModel):
    """One loan."""

    loan_id: LoanId


class LoanQuery(Query):
    """What else a caller may say."""

    min_version: MinVersion = 0
    as_of_version: AsOfVersion = None
    known_at: KnownAt = None


class DateRangeQuery(LoanQuery):
    """And of which days."""

    first: FirstDay = None
    last: LastDay = None


def get_snapshot(lookup: TimelineLookup, path: LoanPath, query: LoanQuery) -> LoanSnapshot:
    """The loan's ledger as the caller wishes to see it.

    Raises: InvalidRequest, UnknownLoan, DatabaseUnavailable, VersionNotReached, TimeNotReached.
    """
    chosen = [field for field in _ONE_OF if field in query.model_fields_set]
    if len(chosen) > 1:
        raise InvalidRequest([(chosen[0], f"expected either this or `{chosen[1]}`, not both")])
    if query.known_at is not None:
        return lookup.get_known_at(path.loan_id, query.known_at)
    if query.as_of_version is not None:
        return lookup.get_at_version(path.loan_id, query.as_of_version)
    return lookup.get(path.loan_id, query.min_version)


def resolve_date_range(calendar: Calendar, snapshot: LoanSnapshot, query: DateRangeQuery) -> DateRange:
    """The days that are asked about.

    Raises: InvalidRequest.
    """
    return DateRange.resolve(
        query.first, query.last, to_date(snapshot.timeline.start_day), calendar.today(query.known_at)
    )

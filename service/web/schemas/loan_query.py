"""Parameters of requests for one loan: its id, its state in time, and a date range."""

from datetime import UTC, datetime

from pydantic import BaseModel

from native import to_date
from service.domain.calendar import Calendar
from service.domain.date_range import DateRange
from service.errors import InvalidRequest
from service.ledger.timeline_lookup import LoanSnapshot, TimelineLookup
from service.web.schemas.common import Query
from service.web.schemas.headers import LOAN_HEADERS, not_modified
from service.web.schemas.problem import problems
from service.web.schemas.query_fields import AsOfVersion, FirstDay, KnownAt, LastDay, LoanId, MinVersion

_EXCLUSIVE = ("known_at", "as_of_version", "min_version")
COMMON_RESPONSES = {**not_modified(LOAN_HEADERS), **problems(400, 404, 412, 503)}


class LoanPath(BaseModel):
    """Path parameters: a loan."""

    loan_id: LoanId


class LoanQuery(Query):
    """Query parameters: the state of the loan."""

    min_version: MinVersion = 0
    as_of_version: AsOfVersion = None
    known_at: KnownAt = None


class DateRangeQuery(LoanQuery):
    """Query parameters: date range."""

    first: FirstDay = None
    last: LastDay = None


def check_one_state(query: LoanQuery) -> None:
    """Check that a query has at most one of the parameters that select a loan's state.

    Raises:
        InvalidRequest: If it has more.
    """
    chosen = [field for field in _EXCLUSIVE if field in query.model_fields_set]
    if len(chosen) > 1:
        raise InvalidRequest([(chosen[0], f"cannot be combined with `{chosen[1]}`")])


def page_as_of(query: LoanQuery, cursor: object) -> datetime | None:
    """Return the current time; None if nothing that is recorded later changes the page of a list.

    Args:
        query: The query.
        cursor: Its cursor; None on the first page.
    """
    is_immutable = cursor is not None or query.as_of_version is not None or query.known_at is not None
    return None if is_immutable else datetime.now(UTC)


def get_snapshot(lookup: TimelineLookup, path: LoanPath, query: LoanQuery) -> LoanSnapshot:
    """Return the loan in the requested state.

    Raises:
        InvalidRequest: If the query has more than one of its parameters.
        UnknownLoan: If the loan does not exist, or did not exist at `known_at`.
        VersionNotReached: If the loan has not reached the requested version.
        TimeNotReached: If `known_at` is too recent.
        DatabaseUnavailable: If the ledger cannot be read.
    """
    check_one_state(query)
    if query.known_at is not None:
        return lookup.get_known_at(path.loan_id, query.known_at)
    if query.as_of_version is not None:
        return lookup.get_at_version(path.loan_id, query.as_of_version)
    return lookup.get(path.loan_id, query.min_version)


def resolve_date_range(calendar: Calendar, snapshot: LoanSnapshot, query: DateRangeQuery) -> DateRange:
    """Return the requested days, with defaults for missing ends.

    Raises:
        InvalidRequest: If the first day is after the last.
    """
    return DateRange.resolve(
        query.first, query.last, to_date(snapshot.timeline.start_day), calendar.today(query.known_at)
    )

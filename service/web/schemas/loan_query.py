"""What questions about one loan have in common: which loan, and how new its ledger has to be."""

from pydantic import BaseModel

from native import to_date
from service.domain.date_range import Span
from service.errors import InvalidRequest
from service.ledger.reader import BalanceReader
from service.ledger.timeline_lookup import Known
from service.web.schemas.headers import OF_A_LEDGER, unchanged
from service.web.schemas.query_fields import (
    AsOfVersion,
    FirstDay,
    KnownAt,
    LastDay,
    LoanId,
    MinVersion,
    Query,
    problems,
)

_ONE_OF = ("known_at", "as_of_version", "min_version")
REFUSALS = {**unchanged(OF_A_LEDGER), **problems(400, 404, 412, 503)}


class LoanPath(BaseModel):
    """One loan."""

    loan_id: LoanId


class Wishes(Query):
    """What else a caller may say."""

    min_version: MinVersion = 0
    as_of_version: AsOfVersion = None
    known_at: KnownAt = None


class SpanWishes(Wishes):
    """And of which days."""

    first: FirstDay = None
    last: LastDay = None


def ledger_of(reader: BalanceReader, path: LoanPath, query: Wishes) -> Known:
    """The loan's ledger as the caller wishes to see it.

    Raises: InvalidRequest, UnknownLoan, DatabaseUnavailable, VersionNotReached, TimeNotReached.
    """
    chosen = [field for field in _ONE_OF if field in query.model_fields_set]
    if len(chosen) > 1:
        raise InvalidRequest([(chosen[0], f"expected either this or `{chosen[1]}`, not both")])
    if query.known_at is not None:
        return reader.loan_known(path.loan_id, query.known_at)
    if query.as_of_version is not None:
        return reader.loan_at(path.loan_id, query.as_of_version)
    return reader.loan(path.loan_id, query.min_version)


def span_of(reader: BalanceReader, known: Known, query: SpanWishes) -> Span:
    """The days that are asked about.

    Raises: InvalidRequest.
    """
    return Span.chosen(query.first, query.last, to_date(known.timeline.start_day), reader.today(query.known_at))

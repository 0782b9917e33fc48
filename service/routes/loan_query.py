"""What questions about one loan have in common: which loan, and how new its ledger has to be."""

from pydantic import BaseModel

from native import day_of
from service.errors import InvalidRequest
from service.reader import BalanceReader
from service.routes.fields import AsOfVersion, FirstDay, LastDay, LoanId, MinVersion, Query, problems
from service.span import Span
from service.timelines import Known

REFUSALS = problems(400, 401, 403, 404, 412, 503)


class LoanPath(BaseModel):
    """One loan."""

    loan_id: LoanId


class Wishes(Query):
    """What else a caller may say."""

    min_version: MinVersion = 0
    as_of_version: AsOfVersion = None


class SpanWishes(Wishes):
    """And of which days."""

    first: FirstDay = None
    last: LastDay = None


def ledger_of(reader: BalanceReader, path: LoanPath, query: Wishes) -> Known:
    """The loan's ledger as the caller wishes to see it.

    Raises: InvalidRequest, UnknownLoan, DatabaseUnavailable, VersionNotReached.
    """
    if query.as_of_version is not None:
        if "min_version" in query.model_fields_set:
            raise InvalidRequest([("as_of_version", "expected either this or `min_version`, not both")])
        return reader.loan_at(path.loan_id, query.as_of_version)
    return reader.loan(path.loan_id, query.min_version)


def span_of(reader: BalanceReader, known: Known, query: SpanWishes) -> Span:
    """The days that are asked about.

    Raises: InvalidRequest.
    """
    return Span.chosen(query.first, query.last, day_of(known.timeline.start_day), reader.today())

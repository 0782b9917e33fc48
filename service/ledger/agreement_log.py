"""Reads a loan's terms and schedules with their provenance, in the order in which they were recorded."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from service.postgres.pool import Database

_QUERY = """
    SELECT a.version, a.recorded_at, a.posted_by, a.source_id, a.memo, a.reverses, r.version,
           a.version IN (SELECT {applying}(%(loan_id)s, %(version)s)), a.effective_date, {members}
    FROM {table} AS a
    LEFT JOIN {table} AS r ON r.loan_id = a.loan_id AND r.reverses = a.version AND r.version <= %(version)s
    WHERE a.loan_id = %(loan_id)s AND a.version > %(after)s AND a.version <= %(version)s
    ORDER BY a.version LIMIT %(limit)s
"""


_TERMS = _QUERY.format(
    table="loan_terms", applying="applying_terms", members="a.rate::text, a.day_count, a.allocation, a.grace_days"
)
_SCHEDULES = _QUERY.format(
    table="loan_schedules", applying="applying_schedules", members="a.due_dates, a.amts, a.method"
)


class Record(NamedTuple):
    """What terms and schedules have in common.

    Attributes:
        version: The loan's version with this record.
        recorded_at: When it was recorded.
        posted_by: Who posted it.
        source_id: The caller's own id.
        memo: Why it was posted.
        reverses: The version of the record that it takes back.
        reversed_by: The version of the record that takes it back, if the loan's version has it.
        applies: Whether it applies in the loan's version.
        effective_date: The day from which it applies.
    """

    version: int
    recorded_at: datetime
    posted_by: str
    source_id: str | None
    memo: str | None
    reverses: int | None
    reversed_by: int | None
    applies: bool
    effective_date: date


class Terms(NamedTuple):
    """Terms as they were recorded; the attributes are those of `NewTerms`."""

    record: Record
    rate: str
    day_count: str
    allocation: list[str]
    grace_days: int


class Schedule(NamedTuple):
    """A schedule as it was recorded."""

    record: Record
    due_dates: list[date]
    amounts: list[Decimal]
    method: dict[str, Any] | None


class AgreementLog:
    """The terms and schedules in the ledger's tables.

    Args:
        database: The primary.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def terms(self, loan_id: int, version: int, after: int, limit: int) -> list[Terms]:
        """Return terms in the order of their versions.

        Args:
            loan_id: The loan.
            version: The loan's version: later records are left out, and so is what they change.
            after: The version after which to begin.
            limit: The maximum number of records.

        Raises:
            DatabaseUnavailable: If the database cannot be read.
        """
        return [Terms(Record(*row[:9]), *row[9:]) for row in self._rows(_TERMS, loan_id, version, after, limit)]

    def schedules(self, loan_id: int, version: int, after: int, limit: int) -> list[Schedule]:
        """Return schedules in the order of their versions; see `terms`."""
        return [Schedule(Record(*row[:9]), *row[9:]) for row in self._rows(_SCHEDULES, loan_id, version, after, limit)]

    def _rows(self, query: str, loan_id: int, version: int, after: int, limit: int) -> list[tuple[Any, ...]]:
        parameters = {"loan_id": loan_id, "version": version, "after": after, "limit": limit}
        return self._database.rows(query, parameters)

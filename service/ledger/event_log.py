"""Reads a loan's events with their provenance, in the order in which they were recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from service.errors import UnknownLoan, VersionNotReached
from service.postgres.known_until import check_time_reached
from service.postgres.pool import Database
from service.postgres.sql_fragments import MINOR_UNITS, known_version

_LOAN = "SELECT l.currency, l.exponent, l.version FROM loans AS l WHERE l.loan_id = %s"
_LOAN_KNOWN_AT = f"""
    SELECT l.currency, l.exponent, {known_version("%(moment)s")}
    FROM loans AS l WHERE l.loan_id = %(loan_id)s AND (l.recorded_at IS NULL OR l.recorded_at <= %(moment)s)
"""  # noqa: S608  (built from constants, not from input)
_EVENTS = """
    SELECT e.tx_id, e.version, e.event_type, e.post_date, e.amt, e.recorded_at, e.source_id, e.reverses, r.tx_id,
           e.posted_by, e.memo
    FROM loan_events AS e
    LEFT JOIN loan_events AS r ON r.loan_id = e.loan_id AND r.reverses = e.tx_id AND r.version <= %(version)s
    WHERE e.loan_id = %(loan_id)s AND e.version > %(after)s AND e.version <= %(version)s{conditions}
    ORDER BY e.version LIMIT %(limit)s
"""
_PROVENANCE = """
    SELECT tx_id, source_id, posted_by, memo FROM loan_events WHERE loan_id = %s AND tx_id = ANY(%s::bigint[])
"""


_RECEIPTS = f"""
    SELECT e.loan_id, e.tx_id, e.event_type, e.post_date, (e.amt * {MINOR_UNITS})::bigint, e.reverses, r.tx_id
    FROM loan_events AS e
    JOIN loans AS l ON l.loan_id = e.loan_id
    LEFT JOIN loan_events AS r ON r.loan_id = e.loan_id AND r.reverses = e.tx_id
    WHERE e.source_id = %s AND e.loan_id = ANY(%s::bigint[])
"""  # noqa: S608  (built from constants, not from input)


@dataclass(frozen=True)
class EventFilter:
    """The events to list. None leaves a bound open.

    Attributes:
        source_id: The caller's own id.
        event_type: One of EVENT_TYPES.
        first: The earliest recording time.
        last: The latest recording time.
    """

    source_id: str | None = None
    event_type: str | None = None
    first: datetime | None = None
    last: datetime | None = None


class LoanState(NamedTuple):
    """What is needed of a loan to list its events."""

    currency: str
    exponent: int
    version: int


class RecordedEvent(NamedTuple):
    """An event as it was recorded. `reversed_by` is None unless the loan's version has the reversal."""

    tx_id: int
    version: int
    event_type: str
    post_date: date
    amt: Decimal
    recorded_at: datetime
    source_id: str | None
    reverses: int | None
    reversed_by: int | None
    posted_by: str | None
    memo: str | None


class Receipt(NamedTuple):
    """The event of a loan that has a caller's own id. The amount is in minor units."""

    tx_id: int
    event_type: str
    post_date: date
    amt: int
    reverses: int | None
    reversed_by: int | None


class Provenance(NamedTuple):
    """Where an event came from. Each member may be None."""

    source_id: str | None = None
    posted_by: str | None = None
    memo: str | None = None


NO_PROVENANCE = Provenance()


class EventLog:
    """The events in the ledger's tables.

    Args:
        database: The primary.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def state(self, loan_id: int, as_of_version: int | None = None, known_at: datetime | None = None) -> LoanState:
        """Return a loan with its current version, or with the one that was requested.

        Raises:
            UnknownLoan: If the loan does not exist, or did not exist at `known_at`.
            VersionNotReached: If the loan has fewer records than `as_of_version`.
            TimeNotReached: If events may still be recorded before `known_at`.
            DatabaseUnavailable: If the database cannot be read.
        """
        if known_at is not None:
            check_time_reached(self._database, known_at)
            row = self._database.row(_LOAN_KNOWN_AT, {"loan_id": loan_id, "moment": known_at})
        else:
            row = self._database.row(_LOAN, (loan_id,))
        if row is None:
            raise UnknownLoan(loan_id)
        state = LoanState(*row)
        if as_of_version is None:
            return state
        if state.version < as_of_version:
            raise VersionNotReached(loan_id, state.version, as_of_version)
        return state._replace(version=as_of_version)

    def events(self, loan_id: int, version: int, chosen: EventFilter, after: int, limit: int) -> list[RecordedEvent]:
        """Return events in the order of their versions.

        Args:
            loan_id: The loan.
            version: The loan's version: later events are left out, and so is what they reverse.
            chosen: The events to list.
            after: The version after which to begin.
            limit: The maximum number of events.

        Raises:
            DatabaseUnavailable: If the database cannot be read.
        """
        conditions = {
            "source_id": " AND e.source_id = %(source_id)s",
            "event_type": " AND e.event_type = %(event_type)s",
            "first": " AND e.recorded_at >= %(first)s",
            "last": " AND e.recorded_at <= %(last)s",
        }
        parameters = {name: getattr(chosen, name) for name in conditions}
        parameters |= {"loan_id": loan_id, "version": version, "after": after, "limit": limit}
        selected = "".join(sql for name, sql in conditions.items() if parameters[name] is not None)
        rows = self._database.rows(_EVENTS.format(conditions=selected), parameters)
        return [RecordedEvent(*row) for row in rows]

    def receipts(self, source_id: str, loan_ids: Sequence[int]) -> dict[int, Receipt]:
        """Return the events with a caller's own id by their loans; loans without one are left out.

        Raises:
            DatabaseUnavailable: If the database cannot be read.
        """
        rows = self._database.rows(_RECEIPTS, (source_id, list(loan_ids))) if loan_ids else []
        return {loan_id: Receipt(*columns) for loan_id, *columns in rows}

    def provenance(self, loan_id: int, tx_ids: Sequence[int]) -> dict[int, Provenance]:
        """Return the provenance of events; unknown ones are left out.

        Raises:
            DatabaseUnavailable: If the database cannot be read.
        """
        if not tx_ids:
            return {}
        rows = self._database.rows(_PROVENANCE, (loan_id, list(tx_ids)))
        return {tx_id: Provenance(*columns) for tx_id, *columns in rows}

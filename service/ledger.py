"""Loans and their events in Postgres, read as timelines."""

from typing import Any, Protocol

import psycopg2

from native import FEE, INTEREST, PAYMENT, REVERSAL, Timeline
from service.database import Database, Prepared
from service.errors import DatabaseUnavailable, UnknownLoan, VersionNotReached, first_line

_NO_VERSION = -1
_XMIN = 3  # where it is behind the version


def _select(events: str) -> str:
    # One statement, so that version, terms, events and horizon are of one snapshot. Days count from 1970-01-01; amounts
    # are in cents, exactly: numeric(18, 2) times 100 is a whole number below 10^18. After a failover the new primary
    # may have given a version to another event, so the session's cluster is compared as well (see
    # service/connection.py). events: which ones, of those of the loan $1; it is put in as it is.
    return f"""
    SELECT l.version, l.start_date - DATE '1970-01-01', (l.initial_amt * 100)::bigint, l.currency,
           pg_snapshot_xmin(pg_current_snapshot())::text, e.days, e.kinds, e.amounts, e.tx_ids,
           session.is_same, held.stands
    FROM loans AS l
    CROSS JOIN (SELECT starts_with($3, current_setting('loaner.cluster')) AS is_same) AS session
    CROSS JOIN LATERAL (SELECT l.version = $2 AND session.is_same AS stands) AS held
    CROSS JOIN LATERAL (
        SELECT array_agg(day) AS days, array_agg(kind) AS kinds,
               array_agg(amount) AS amounts, array_agg(tx_id) AS tx_ids
        FROM (
            SELECT post_date - DATE '1970-01-01' AS day,
                   CASE event_type
                       WHEN 'fee' THEN {FEE} WHEN 'interest' THEN {INTEREST} WHEN 'payment' THEN {PAYMENT}
                   END + CASE WHEN reverses IS NULL THEN 0 ELSE {REVERSAL} END AS kind,
                   (amt * 100)::bigint AS amount,
                   tx_id
            FROM loan_events
            WHERE loan_id = l.loan_id AND {events}
            ORDER BY post_date, tx_id
        ) AS ordered
    ) AS e
    WHERE l.loan_id = $1
    """  # noqa: S608  (put together from constants, not from input)


_PARAMETERS = ("bigint", "bigint", "text")
_TIMELINE = Prepared("timeline", _PARAMETERS, _select("NOT held.stands"))  # none of a loan whose version is known
_TIMELINE_AT = Prepared("timeline_at", _PARAMETERS, _select("version <= $2"))


class Ledger(Protocol):
    """Where timelines come from."""

    def timeline(self, loan_id: int, held: Timeline | None = None, cluster: str | None = None) -> Timeline:
        """The loan's ledger. held: one that was read before, and of which cluster; if it still stands, it is only given
        a newer token.

        Raises: UnknownLoan, DatabaseUnavailable.
        """
        ...

    def timeline_at(self, loan_id: int, version: int, cluster: str | None = None) -> Timeline:
        """The loan's ledger as it was, in this cluster, when it had so many events.

        Raises: UnknownLoan, DatabaseUnavailable; VersionNotReached when it does not have so many here.
        """
        ...


class PostgresLedger:
    """Timelines from the tables `loans` and `loan_events`."""

    def __init__(self, database: Database, strict: bool = False) -> None:
        """strict: whether to read nothing from another cluster than that which is asked for: replicas go astray."""
        self._database = database
        self._strict = strict

    def timeline(self, loan_id: int, held: Timeline | None = None, cluster: str | None = None) -> Timeline:
        """The loan's ledger as this database has it now. held: as it was before in that cluster, or None.

        Raises: UnknownLoan, DatabaseUnavailable.
        """
        version, *columns, stands = self._row(_TIMELINE, loan_id, held.version if held else _NO_VERSION, cluster)
        if held is not None and stands:
            token = int(columns[_XMIN])
            return held if token == held.token else held.restamped(token)
        return _timeline(loan_id, version, *columns)

    def timeline_at(self, loan_id: int, version: int, cluster: str | None = None) -> Timeline:
        """The loan's ledger as it was when it had so many events: each event tells which version it made.

        Raises: UnknownLoan, DatabaseUnavailable; VersionNotReached when it does not have so many here.
        """
        reached, *columns, _ = self._row(_TIMELINE_AT, loan_id, version, cluster)
        if reached < version:
            raise VersionNotReached(loan_id, reached, version)
        return _timeline(loan_id, version, *columns)

    def _row(self, query: Prepared, loan_id: int, version: int, cluster: str | None) -> tuple[Any, ...]:
        try:
            row = self._database.row(query, (loan_id, version, cluster or ""))
        except psycopg2.Error as err:
            if not self._strict:
                raise
            raise DatabaseUnavailable(f"a replica cannot be read: {first_line(err)}") from err
        if row is None:
            raise UnknownLoan(loan_id)
        *columns, is_same, stands = row
        if self._strict and not is_same:
            self._database.distrust("a server is of another cluster")
            raise DatabaseUnavailable("a server is of another cluster")
        return (*columns, stands)


def _timeline(
    loan_id: int,
    version: int,
    start_day: int,
    initial: int,
    currency: str,
    xmin: str,
    days: list[int] | None,
    kinds: list[int] | None,
    amounts: list[int] | None,
    tx_ids: list[int] | None,
) -> Timeline:
    return Timeline.build(
        loan_id=loan_id,
        version=version,
        token=int(xmin),
        start_day=start_day,
        initial=initial,
        currency=currency,
        days=days or [],
        kinds=kinds or [],
        amounts=amounts or [],
        tx_ids=tx_ids or [],
    )

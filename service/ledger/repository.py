"""Loans and their events in Postgres, read as timelines."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol

import psycopg2

from native import FEE, INTEREST, PAYMENT, REVERSAL, Timeline
from service.errors import DatabaseUnavailable, TimeNotReached, UnknownLoan, VersionNotReached, first_line
from service.postgres.pool import Database, Prepared
from service.postgres.sql_fragments import EPOCH

NOTHING_HELD: Mapping[int, Timeline] = MappingProxyType({})
_NO_VERSION = -1
_DAYS = 4  # where they are behind the version
_ONE, _MANY = "(SELECT $1, $2)", "unnest($1, $2)"


def _select(asked: str, events: str) -> str:
    # One statement, so that versions, terms, events and horizon are of one snapshot. Days count from 1970-01-01;
    # amounts are in cents, exactly: numeric(18, 2) times 100 is a whole number below 10^18. After a failover the new
    # primary may have given a version to another event, so the session's cluster, $3, is compared as well (see
    # service/connection.py). asked: rows of a loan and a version; events: which ones of a loan's. Both are put in as
    # they are.
    return f"""
    SELECT session.is_same, held.stands, l.loan_id, l.version, pg_snapshot_xmin(pg_current_snapshot())::text,
           l.start_date - {EPOCH}, (l.initial_amt * 100)::bigint, l.currency,
           e.days, e.kinds, e.amounts, e.tx_ids
    FROM {asked} AS asked (loan_id, until)
    JOIN loans AS l ON l.loan_id = asked.loan_id
    CROSS JOIN (SELECT starts_with($3, current_setting('loaner.cluster')) AS is_same) AS session
    CROSS JOIN LATERAL (SELECT l.version = asked.until AND session.is_same AS stands) AS held
    CROSS JOIN LATERAL (
        SELECT array_agg(day) AS days, array_agg(kind) AS kinds,
               array_agg(amount) AS amounts, array_agg(tx_id) AS tx_ids
        FROM (
            SELECT post_date - {EPOCH} AS day,
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
    """  # noqa: S608  (put together from constants, not from input)


_NOT_HELD = "NOT held.stands"  # none of a loan whose version is known
_TIMELINE = Prepared("timeline", ("bigint", "bigint", "text"), _select(_ONE, _NOT_HELD))
_TIMELINES = Prepared("timelines", ("bigint[]", "bigint[]", "text"), _select(_MANY, _NOT_HELD))
# Versions grow with time, unless the clock is put back: then what is behind a later event was known later, too.
_KNOWN = """
    (SELECT l.loan_id, coalesce(
        (SELECT min(version) - 1 FROM loan_events WHERE loan_id = l.loan_id AND recorded_at > $2), l.version)
     FROM loans AS l WHERE l.loan_id = $1 AND (l.recorded_at IS NULL OR l.recorded_at <= $2))
"""
_UP_TO = "version <= asked.until"
_TIMELINE_AT = Prepared("timeline_at", ("bigint", "bigint", "text"), _select(_ONE, _UP_TO))
_TIMELINE_KNOWN = Prepared("timeline_known", ("bigint", "timestamptz", "text"), _select(_KNOWN, _UP_TO))
_KNOWN_UNTIL = Prepared("known_until", (), "SELECT known_until()")


class Ledger(Protocol):
    """Where timelines come from."""

    def timelines(
        self, loan_ids: Sequence[int], held: Mapping[int, Timeline] = NOTHING_HELD, cluster: str | None = None
    ) -> dict[int, Timeline]:
        """The ledgers of those of these loans that there are, of one snapshot. held: some that were read before, and of
        which cluster; what still stands is only given a newer horizon.

        Raises: DatabaseUnavailable.
        """
        ...

    def timeline_at(self, loan_id: int, version: int, cluster: str | None = None) -> Timeline:
        """The loan's ledger as it was, in this cluster, when it had so many events.

        Raises: UnknownLoan, DatabaseUnavailable; VersionNotReached when it does not have so many here.
        """
        ...

    def timeline_known(self, loan_id: int, moment: datetime) -> Timeline:
        """The loan's ledger as far as it was recorded by then. To be asked of a primary.

        Raises: UnknownLoan, DatabaseUnavailable; TimeNotReached when something may still be recorded before then.
        """
        ...


class PostgresLedger:
    """Timelines from the tables `loans` and `loan_events`."""

    def __init__(self, database: Database, strict: bool = False) -> None:
        """strict: whether to read nothing from another cluster than that which is asked for: replicas go astray."""
        self._database = database
        self._strict = strict

    def timelines(
        self, loan_ids: Sequence[int], held: Mapping[int, Timeline] = NOTHING_HELD, cluster: str | None = None
    ) -> dict[int, Timeline]:
        """The ledgers, as this database has them now, of those of these loans that there are.

        Raises: DatabaseUnavailable.
        """
        versions = [held[loan_id].version if loan_id in held else _NO_VERSION for loan_id in loan_ids]
        if len(versions) == 1:
            rows = self._rows(_TIMELINE, (loan_ids[0], versions[0], cluster or ""))
        else:
            rows = self._rows(_TIMELINES, (list(loan_ids), versions, cluster or ""))
        found = {}
        for stands, loan_id, version, xmin, *columns in rows:
            if stands and loan_id in held:
                horizon = int(xmin)
                known = held[loan_id]
                found[loan_id] = known if horizon == known.horizon else known.with_horizon(horizon)
            else:
                found[loan_id] = _timeline(loan_id, version, xmin, *columns)
        return found

    def timeline_at(self, loan_id: int, version: int, cluster: str | None = None) -> Timeline:
        """The loan's ledger as it was when it had so many events: each event tells which version it made.

        Raises: UnknownLoan, DatabaseUnavailable; VersionNotReached when it does not have so many here.
        """
        rows = self._rows(_TIMELINE_AT, (loan_id, version, cluster or ""))
        if not rows:
            raise UnknownLoan(loan_id)
        _, _, reached, *columns = rows[0]
        if reached < version:
            raise VersionNotReached(loan_id, reached, version)
        return _timeline(loan_id, version, *columns)

    def timeline_known(self, loan_id: int, moment: datetime) -> Timeline:
        """The loan's ledger as far as it was recorded by then.

        Raises: UnknownLoan, DatabaseUnavailable; TimeNotReached when something may still be recorded before then.
        """
        [(until,)] = self._database.rows(_KNOWN_UNTIL)
        if moment >= until:
            raise TimeNotReached(until)
        rows = self._rows(_TIMELINE_KNOWN, (loan_id, moment, ""))  # seen later, so that nothing is missing
        if not rows:
            raise UnknownLoan(loan_id)
        _, _, _, *columns = rows[0]
        return _timeline(loan_id, len(columns[_DAYS] or ()), *columns)

    def _rows(self, query: Prepared, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """What the query finds, without the first column, which says whether the session's cluster is the one."""
        try:
            rows = self._database.rows(query, parameters)
        except psycopg2.Error as err:
            if not self._strict:
                raise
            raise DatabaseUnavailable(f"a replica cannot be read: {first_line(err)}") from err
        if self._strict and rows and not rows[0][0]:
            self._database.suspend("a server is of another cluster")
            raise DatabaseUnavailable("a server is of another cluster")
        return [row[1:] for row in rows]


def _timeline(
    loan_id: int,
    version: int,
    xmin: str,
    start_day: int,
    initial: int,
    currency: str,
    days: list[int] | None,
    kinds: list[int] | None,
    amounts: list[int] | None,
    tx_ids: list[int] | None,
) -> Timeline:
    return Timeline.build(
        loan_id=loan_id,
        version=version,
        horizon=int(xmin),
        start_day=start_day,
        initial=initial,
        currency=currency,
        days=days or [],
        kinds=kinds or [],
        amounts=amounts or [],
        tx_ids=tx_ids or [],
    )

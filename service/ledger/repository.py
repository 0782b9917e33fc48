"""Reads loans and their records from Postgres as timelines."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol

import psycopg2

from native import Timeline
from service.domain.terms import ALLOCATION_CODES, DAY_COUNT_CODES
from service.errors import DatabaseUnavailable, UnknownLoan, VersionNotReached, first_line
from service.postgres.known_until import check_time_reached
from service.postgres.pool import Database
from service.postgres.prepared import Prepared
from service.postgres.sql_fragments import EPOCH, KIND, MINOR_UNITS, known_version

NOTHING_CACHED: Mapping[int, Timeline] = MappingProxyType({})
_NO_VERSION = -1
# False also in a session that a pooler has reset, and on a replica that was promoted since the session began.
_SAME_CLUSTER = """
    coalesce(starts_with($3, nullif(current_setting('loaner.cluster'), '')), false)
    AND pg_is_in_recovery() = (current_setting('loaner.cluster') NOT LIKE '%.%.%.%')
"""
_ONE, _MANY = "(SELECT $1, $2)", "unnest($1, $2)"


def _build_query(requested: str, *, current: bool) -> str:
    """Return the query for timelines.

    It is one statement, so that versions, records and horizon belong to one snapshot. Days count from 1970-01-01.
    Amounts are exact: minor units of the loan's currency, integers below 10^18. After a failover the new primary may
    assign a version to another record, so the cluster of the session is compared with $3 (see
    service/postgres/connect.py).

    Args:
        requested: Rows of a loan id and a version, as SQL, which is inserted unchanged.
        current: Whether to read loans in their current versions, and no records of those that are at the requested
            version. Otherwise they are read as of the requested version.
    """
    wanted = "NOT cached.is_current" if current else "true"
    version = "l.version" if current else "requested.version"
    events = wanted if current else f"version <= {version}"
    return f"""
    SELECT session.same_cluster, cached.is_current, l.loan_id, l.version, requested.version,
           pg_snapshot_xmin(pg_current_snapshot())::text,
           l.start_date - {EPOCH}, (l.initial_amt * {MINOR_UNITS})::bigint, l.currency, l.exponent,
           e.days, e.kinds, e.amounts, e.tx_ids, e.versions, e.recorded_at, e.reverses,
           CASE WHEN l.agreements > 0 AND {wanted} THEN terms_of(l.loan_id, {version}) END,
           CASE WHEN l.agreements > 0 AND {wanted} THEN schedules_of(l.loan_id, {version}, l.exponent) END
    FROM {requested} AS requested (loan_id, version)
    JOIN loans AS l ON l.loan_id = requested.loan_id
    CROSS JOIN (SELECT {_SAME_CLUSTER} AS same_cluster) AS session
    CROSS JOIN LATERAL (SELECT l.version = requested.version AND session.same_cluster AS is_current) AS cached
    CROSS JOIN LATERAL (
        SELECT array_agg(day) AS days, array_agg(kind) AS kinds,
               array_agg(amount) AS amounts, array_agg(tx_id) AS tx_ids, array_agg(version) AS versions,
               array_agg(recorded_at) AS recorded_at, array_agg(reverses) AS reverses
        FROM (
            SELECT post_date - {EPOCH} AS day, {KIND} AS kind, (amt * {MINOR_UNITS})::bigint AS amount, tx_id, version,
                   (extract(epoch FROM recorded_at) * 1000000)::bigint AS recorded_at,
                   coalesce(reverses, 0) AS reverses
            FROM loan_events
            WHERE loan_id = l.loan_id AND {events}
            ORDER BY post_date, tx_id
        ) AS ordered
    ) AS e
    """  # noqa: S608  (built from constants, not from input)


_KNOWN = f"""
    (SELECT l.loan_id, {known_version("$2")}
     FROM loans AS l WHERE l.loan_id = {{loans}} AND (l.recorded_at IS NULL OR l.recorded_at <= $2))
"""  # noqa: S608  (built from constants, not from input)
_TIMELINE = Prepared("timeline", ("bigint", "bigint", "text"), _build_query(_ONE, current=True))
_TIMELINES = Prepared("timelines", ("bigint[]", "bigint[]", "text"), _build_query(_MANY, current=True))
_TIMELINE_AT = Prepared("timeline_at", ("bigint", "bigint", "text"), _build_query(_ONE, current=False))
_TIMELINE_KNOWN_AT = Prepared(
    "timeline_known_at", ("bigint", "timestamptz", "text"), _build_query(_KNOWN.format(loans="$1"), current=False)
)
_TIMELINES_KNOWN_AT = Prepared(
    "timelines_known_at",
    ("bigint[]", "timestamptz", "text"),
    _build_query(_KNOWN.format(loans="ANY($1)"), current=False),
)


class Ledger(Protocol):
    """A source of timelines."""

    def timelines(
        self, loan_ids: Sequence[int], cached: Mapping[int, Timeline] = NOTHING_CACHED, cluster: str | None = None
    ) -> dict[int, Timeline]:
        """Return the current timelines of these loans, all of one snapshot; unknown loans are left out.

        Args:
            loan_ids: The loans.
            cached: Timelines to revalidate: one that is current gets a new horizon, without reading records.
            cluster: The cluster that they were cached under.

        Raises:
            DatabaseUnavailable: If the database cannot be read.
        """
        ...

    def timeline_at(self, loan_id: int, version: int, cluster: str | None = None) -> Timeline:
        """Return the timeline of a loan's first records, as many as `version` says.

        Raises:
            UnknownLoan: If the loan does not exist here.
            VersionNotReached: If it has fewer records here.
            DatabaseUnavailable: If the database cannot be read.
        """
        ...

    def timeline_known_at(self, loan_id: int, moment: datetime) -> Timeline:
        """Return the timeline of the records that had been recorded by a time. Only a primary can answer.

        Raises:
            UnknownLoan: If the loan was not recorded by then.
            TimeNotReached: If records may still be recorded with an earlier time.
            DatabaseUnavailable: If the database cannot be read.
        """
        ...

    def timelines_known_at(self, loan_ids: Sequence[int], moment: datetime) -> dict[int, Timeline]:
        """Return the timelines of the records that had been recorded by a time. Only a primary can answer.

        Loans that were not recorded by then are left out.

        Raises:
            TimeNotReached: If records may still be recorded with an earlier time.
            DatabaseUnavailable: If the database cannot be read.
        """
        ...


class PostgresLedger:
    """Timelines from the ledger's tables.

    Args:
        database: Where to read.
        strict: Whether to reject servers of another cluster than requested. Replicas need this: one may follow an old
            primary.
    """

    def __init__(self, database: Database, strict: bool = False) -> None:
        self._database = database
        self._strict = strict

    def timelines(
        self, loan_ids: Sequence[int], cached: Mapping[int, Timeline] = NOTHING_CACHED, cluster: str | None = None
    ) -> dict[int, Timeline]:
        """Return the current timelines of these loans; see `Ledger`."""
        versions = [cached[loan_id].version if loan_id in cached else _NO_VERSION for loan_id in loan_ids]
        if len(versions) == 1:
            rows = self._rows(_TIMELINE, (loan_ids[0], versions[0], cluster or ""))
        else:
            rows = self._rows(_TIMELINES, (list(loan_ids), versions, cluster or ""))
        found = {}
        for is_current, loan_id, version, _, xmin, *columns in rows:
            if is_current and loan_id in cached:
                horizon = int(xmin)
                timeline = cached[loan_id]
                found[loan_id] = timeline if horizon == timeline.horizon else timeline.with_horizon(horizon)
            else:
                found[loan_id] = _build_timeline(loan_id, version, xmin, *columns)
        return found

    def timeline_at(self, loan_id: int, version: int, cluster: str | None = None) -> Timeline:
        """Return the timeline of a loan's first records; see `Ledger`."""
        rows = self._rows(_TIMELINE_AT, (loan_id, version, cluster or ""))
        if not rows:
            raise UnknownLoan(loan_id)
        _, _, current_version, _, *columns = rows[0]
        if current_version < version:
            raise VersionNotReached(loan_id, current_version, version)
        return _build_timeline(loan_id, version, *columns)

    def timeline_known_at(self, loan_id: int, moment: datetime) -> Timeline:
        """Return the timeline of the records that had been recorded by a time; see `Ledger`."""
        check_time_reached(self._database, moment)
        rows = self._rows(_TIMELINE_KNOWN_AT, (loan_id, moment, ""))
        if not rows:
            raise UnknownLoan(loan_id)
        _, _, _, *columns = rows[0]
        return _build_timeline(loan_id, *columns)

    def timelines_known_at(self, loan_ids: Sequence[int], moment: datetime) -> dict[int, Timeline]:
        """Return the timelines of the records that had been recorded by a time; see `Ledger`."""
        check_time_reached(self._database, moment)
        found = {}
        for _, loan_id, _, *columns in self._rows(_TIMELINES_KNOWN_AT, (list(loan_ids), moment, "")):
            found[loan_id] = _build_timeline(loan_id, *columns)
        return found

    def _rows(self, query: Prepared, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Return the rows without their first column, which says whether the session's cluster is the requested one."""
        try:
            rows = self._database.rows(query, parameters)
        except psycopg2.Error as err:
            if not self._strict:
                raise
            raise DatabaseUnavailable(f"cannot read from a replica: {first_line(err)}") from err
        if self._strict and rows and not rows[0][0]:
            self._database.suspend("the server belongs to another cluster")
            raise DatabaseUnavailable("the server belongs to another cluster")
        return [row[1:] for row in rows]


def _build_timeline(
    loan_id: int,
    version: int,
    xmin: str,
    start_day: int,
    initial: int,
    currency: str,
    exponent: int,
    days: list[int] | None,
    kinds: list[int] | None,
    amounts: list[int] | None,
    tx_ids: list[int] | None,
    versions: list[int] | None,
    recorded_at: list[int] | None,
    reverses: list[int] | None,
    terms: list[list[Any]] | None,
    schedules: list[list[Any]] | None,
) -> Timeline:
    return Timeline.build(
        loan_id=loan_id,
        version=version,
        horizon=int(xmin),
        start_day=start_day,
        initial=initial,
        currency=currency,
        exponent=exponent,
        days=days or [],
        kinds=kinds or [],
        amounts=amounts or [],
        tx_ids=tx_ids or [],
        versions=versions or [],
        recorded_at=recorded_at or [],
        reverses=reverses or [],
        terms=[
            (day, rate, DAY_COUNT_CODES[day_count], ALLOCATION_CODES[tuple(allocation)], grace_days)
            for day, rate, day_count, allocation, grace_days in terms or ()
        ],
        schedules=schedules or (),
    )

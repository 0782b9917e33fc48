"""Computes the portfolio in Postgres, in one snapshot."""

from collections.abc import Iterator
from datetime import date, datetime
from itertools import repeat
from typing import Any, NamedTuple, Protocol

from psycopg2.extensions import connection as Connection

from native import day_number
from service.portfolio.amounts import Amounts, LoanKeys
from service.portfolio.columns import join_loans
from service.portfolio.kernel import compute_amounts
from service.portfolio.loan_columns import build_query, read_columns
from service.portfolio.rows import BALANCES, Details, LoanBalance, Total
from service.portfolio.sums import Sums
from service.postgres.known_until import check_time_reached
from service.postgres.pool import FETCH_ROWS, Parameters
from service.postgres.sql_fragments import SIGNED_AMT, known_version

LOANS_PER_BATCH = 200
"""How many loans with their records are in memory at the same time while details are computed."""

# Parameters: day, and known_at if the name says so.
LOAN_BALANCES = f"""
    SELECT l.loan_id, round(l.initial_amt + coalesce(e.change, 0), l.exponent) AS balance, l.currency, l.exponent,
           l.version
    FROM loans AS l
    LEFT JOIN (SELECT loan_id, sum({SIGNED_AMT}) AS change FROM loan_events
               WHERE post_date <= %(day)s GROUP BY loan_id) AS e USING (loan_id)
    WHERE l.start_date <= %(day)s
"""  # noqa: S608  (built from constants, not from input)
"""A query for the balance of each loan that had started by a day. Its parameter is `day`."""
# As `known_version`, for all loans together.
_BALANCES_KNOWN_AT = f"""
    WITH late AS MATERIALIZED (
        SELECT loan_id, min(version) AS first FROM (
            SELECT loan_id, version FROM loan_events WHERE recorded_at > %(known_at)s
            UNION ALL SELECT loan_id, version FROM loan_terms WHERE recorded_at > %(known_at)s
            UNION ALL SELECT loan_id, version FROM loan_schedules WHERE recorded_at > %(known_at)s) AS records
        GROUP BY loan_id)
    SELECT l.loan_id, round(l.initial_amt + coalesce(e.change, 0), l.exponent) AS balance, l.currency, l.exponent,
           coalesce(late.first - 1, l.version) AS version
    FROM loans AS l
    LEFT JOIN late USING (loan_id)
    LEFT JOIN (
        SELECT loan_id, sum({SIGNED_AMT}) AS change
        FROM loan_events LEFT JOIN late USING (loan_id)
        WHERE post_date <= %(day)s AND (late.first IS NULL OR version < late.first)
        GROUP BY loan_id
    ) AS e USING (loan_id)
    WHERE l.start_date <= %(day)s AND (l.recorded_at IS NULL OR l.recorded_at <= %(known_at)s)
"""  # noqa: S608  (built from constants, not from input)


def _to_totals(balances: str) -> str:
    return f"""
        SELECT currency, count(*), round(sum(balance), max(exponent))::text FROM ({balances}) AS b
        GROUP BY currency ORDER BY currency
    """  # noqa: S608


def _to_loans(balances: str) -> str:
    return f"SELECT loan_id, balance::text, currency, version FROM ({balances}) AS b ORDER BY loan_id"  # noqa: S608


def _to_ledgers(*, known_at: bool, schedules: bool) -> str:
    suffix = "WHERE l.start_date <= %(day)s ORDER BY l.loan_id"
    if not known_at:
        return build_query(suffix, events="post_date <= %(day)s", schedules=schedules)
    return build_query(
        suffix,
        loans=f"""(
            SELECT l.*, {known_version("%(known_at)s")} AS known_version
            FROM loans AS l WHERE l.recorded_at IS NULL OR l.recorded_at <= %(known_at)s)""",  # noqa: S608
        version="l.known_version",
        events="post_date <= %(day)s AND version <= l.known_version",
        schedules=schedules,
    )


class _Queries(NamedTuple):
    totals: str
    loans: str
    ledgers: str  # with events and terms
    ledgers_with_schedules: str


def _build(balances: str, *, known_at: bool) -> _Queries:
    ledgers = (_to_ledgers(known_at=known_at, schedules=schedules) for schedules in (False, True))
    return _Queries(_to_totals(balances), _to_loans(balances), *ledgers)


_NOW = _build(LOAN_BALANCES, known_at=False)
_KNOWN_AT = _build(_BALANCES_KNOWN_AT, known_at=True)


class RowSource(Protocol):
    """Queries over Postgres, such as a `ConnectionPool`."""

    def rows(self, query: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        ...

    def stream(
        self, query: str, parameters: Parameters = (), batch_rows: int = FETCH_ROWS
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Yield all rows of a query from one snapshot, in batches."""
        ...


class SqlPortfolio:
    """The portfolio of the ledger's tables.

    Args:
        database: The primary. A server needs a separate pool, since these queries may take long and must not block
            others.
    """

    def __init__(self, database: RowSource) -> None:
        self._database = database

    def totals(self, day: date, known_at: datetime | None = None, details: Details = BALANCES) -> list[Total]:
        """Return a total for each currency, sorted by currency.

        Args:
            day: The day at whose end the balances count.
            known_at: Count only what had been recorded by this time; None counts everything.
            details: What to add to the balances. All but nothing reads the records of all loans.

        Raises:
            TimeNotReached: If records may still be recorded with an earlier time than `known_at`.
            DatabaseUnavailable: If the database cannot be read.
        """
        queries = self._queries(known_at)
        if details == BALANCES:
            return [Total(*row) for row in self._database.rows(queries.totals, _parameters(day, known_at))]
        sums = Sums(details)
        for keys, amounts in self._with_details(queries, day, known_at, details):
            amounts.include_in(sums, keys, repeat(True, len(keys.currencies)))
        return sums.totals()

    def loans(
        self, day: date, known_at: datetime | None = None, details: Details = BALANCES
    ) -> Iterator[list[LoanBalance]]:
        """Yield the loans that had started by the day in batches, sorted by id, all of one snapshot.

        Args:
            day: The day at whose end the balances count.
            known_at: As for `totals`. The version of a loan is that of this time.
            details: As for `totals`.

        Raises:
            TimeNotReached: Before the first batch, as for `totals`.
            DatabaseUnavailable: If the database cannot be read, before the first batch or later.
        """
        queries = self._queries(known_at)
        if details == BALANCES:
            for rows in self._database.stream(queries.loans, _parameters(day, known_at)):
                yield [LoanBalance(*row) for row in rows]
            return
        for keys, amounts in self._with_details(queries, day, known_at, details):
            yield list(amounts.rows(keys))

    def _queries(self, known_at: datetime | None) -> _Queries:
        if known_at is None:
            return _NOW
        check_time_reached(self._database, known_at)
        return _KNOWN_AT

    def _with_details(
        self, queries: _Queries, day: date, known_at: datetime | None, details: Details
    ) -> Iterator[tuple[LoanKeys, Amounts]]:
        query = queries.ledgers_with_schedules if details.arrears else queries.ledgers
        for rows in self._database.stream(query, _parameters(day, known_at), LOANS_PER_BATCH):
            loans = list(read_columns(rows))
            keys = LoanKeys(
                [loan.loan_id for loan in loans],
                [loan.version for loan in loans],
                [(loan.currency, loan.exponent) for loan in loans],
            )
            yield keys, compute_amounts(day_number(day), join_loans(loans), details)


class ConnectionSource:
    """Queries over one connection, which may take any time, for commands.

    Args:
        connection: A connection outside of a transaction.
    """

    def __init__(self, connection: Connection) -> None:
        connection.autocommit = True
        self._connection = connection

    def rows(self, query: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self._connection.cursor() as cursor:
            cursor.execute(query, parameters or None)
            return cursor.fetchall()

    def stream(
        self, query: str, parameters: Parameters = (), batch_rows: int = FETCH_ROWS
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Yield all rows of a query from one snapshot, in batches."""
        with self._connection.cursor() as cursor:
            cursor.execute("BEGIN READ ONLY")
            try:
                cursor.execute(f"DECLARE streamed NO SCROLL CURSOR FOR {query}", parameters)
                while True:
                    cursor.execute(f"FETCH {batch_rows} FROM streamed")
                    rows = cursor.fetchall()
                    if not rows:
                        return
                    yield rows
            finally:
                cursor.execute("ROLLBACK")


def _parameters(day: date, known_at: datetime | None) -> dict[str, Any]:
    return {"day": day} if known_at is None else {"day": day, "known_at": known_at}

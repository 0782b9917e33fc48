"""Computes the portfolio in Postgres, in one snapshot."""

from array import array
from collections.abc import Iterator
from datetime import date, datetime
from itertools import accumulate, chain
from typing import Any, NamedTuple, Protocol

from psycopg2.extensions import connection as Connection

from native import day_number, portfolio_parts
from service.domain.money import to_decimal_string
from service.portfolio.loan_columns import LoanColumns, build_query, read_columns
from service.portfolio.rows import LoanBalance, Sums, Total
from service.postgres.known_until import check_time_reached
from service.postgres.pool import FETCH_ROWS, Parameters
from service.postgres.sql_fragments import SIGNED_AMT, known_version

LOANS_PER_BATCH = 200
"""How many loans with their events are in memory at the same time while parts are computed."""

# Parameters: day, and known_at if the name says so.
_BALANCES = f"""
    SELECT l.loan_id, round(l.initial_amt + coalesce(e.change, 0), l.exponent) AS balance, l.currency, l.exponent,
           l.version
    FROM loans AS l
    LEFT JOIN (SELECT loan_id, sum({SIGNED_AMT}) AS change FROM loan_events
               WHERE post_date <= %(day)s GROUP BY loan_id) AS e USING (loan_id)
    WHERE l.start_date <= %(day)s
"""  # noqa: S608  (built from constants, not from input)
_LEDGERS = build_query("WHERE l.start_date <= %(day)s ORDER BY l.loan_id", events="post_date <= %(day)s")
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
_LEDGERS_KNOWN_AT = build_query(
    "WHERE l.start_date <= %(day)s ORDER BY l.loan_id",
    loans=f"""(
        SELECT l.*, {known_version("%(known_at)s")} AS known_version
        FROM loans AS l WHERE l.recorded_at IS NULL OR l.recorded_at <= %(known_at)s)""",  # noqa: S608
    version="l.known_version",
    events="post_date <= %(day)s AND version <= l.known_version",
)


def _to_totals(balances: str) -> str:
    return f"""
        SELECT currency, count(*), round(sum(balance), max(exponent))::text FROM ({balances}) AS b
        GROUP BY currency ORDER BY currency
    """  # noqa: S608


def _to_loans(balances: str) -> str:
    return f"SELECT loan_id, balance::text, currency, version FROM ({balances}) AS b ORDER BY loan_id"  # noqa: S608


class _Queries(NamedTuple):
    totals: str
    loans: str
    ledgers: str


_NOW = _Queries(_to_totals(_BALANCES), _to_loans(_BALANCES), _LEDGERS)
_KNOWN_AT = _Queries(_to_totals(_BALANCES_KNOWN_AT), _to_loans(_BALANCES_KNOWN_AT), _LEDGERS_KNOWN_AT)


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

    def totals(self, day: date, known_at: datetime | None = None, parts: bool = False) -> list[Total]:
        """Return a total for each currency, sorted by currency.

        Args:
            day: The day at whose end the balances count.
            known_at: Count only what had been recorded by this time; None counts everything.
            parts: Whether to add the sums of the parts. This reads the events of all loans.

        Raises:
            TimeNotReached: If events may still be recorded with an earlier time than `known_at`.
            DatabaseUnavailable: If the database cannot be read.
        """
        queries = self._queries(known_at)
        if not parts:
            return [Total(*row) for row in self._database.rows(queries.totals, _parameters(day, known_at))]
        sums = Sums()
        for batch in self._with_parts(queries, day, known_at):
            for loan, loan_parts in batch:
                sums.include(loan.currency, loan.exponent, 1, (sum(loan_parts), *loan_parts))
        return sums.totals()

    def loans(self, day: date, known_at: datetime | None = None, parts: bool = False) -> Iterator[list[LoanBalance]]:
        """Yield the loans that had started by the day in batches, sorted by id, all of one snapshot.

        Args:
            day: The day at whose end the balances count.
            known_at: As for `totals`. The version of a loan is that of this time.
            parts: Whether to add the parts of each balance. This reads the events of all loans.

        Raises:
            TimeNotReached: Before the first batch, as for `totals`.
            DatabaseUnavailable: If the database cannot be read, before the first batch or later.
        """
        queries = self._queries(known_at)
        if not parts:
            for rows in self._database.stream(queries.loans, _parameters(day, known_at)):
                yield [LoanBalance(*row) for row in rows]
            return
        for batch in self._with_parts(queries, day, known_at):
            yield [_to_balance(loan, loan_parts) for loan, loan_parts in batch]

    def _queries(self, known_at: datetime | None) -> _Queries:
        if known_at is None:
            return _NOW
        check_time_reached(self._database, known_at)
        return _KNOWN_AT

    def _with_parts(
        self, queries: _Queries, day: date, known_at: datetime | None
    ) -> Iterator[list[tuple[LoanColumns, "array[int]"]]]:
        for rows in self._database.stream(queries.ledgers, _parameters(day, known_at), LOANS_PER_BATCH):
            loans = list(read_columns(rows))
            parts = _compute_parts(day, loans)
            yield [(loan, parts[3 * index : 3 * index + 3]) for index, loan in enumerate(loans)]


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


def _compute_parts(day: date, loans: list[LoanColumns]) -> "array[int]":
    parts: array[int] = portfolio_parts(
        day_number(day),
        start_days=array("i", [loan.start_day for loan in loans]),
        initials=array("q", [loan.initial for loan in loans]),
        offsets=array("q", accumulate((len(loan.days) for loan in loans), initial=0)),
        days=array("i", chain.from_iterable(loan.days for loan in loans)),
        kinds=array("B", chain.from_iterable(loan.kinds for loan in loans)),
        running=array("q", chain.from_iterable(loan.running for loan in loans)),
        links=array("I", chain.from_iterable(loan.links for loan in loans)),
    )
    return parts


def _to_balance(loan: LoanColumns, parts: "array[int]") -> LoanBalance:
    texts = tuple(to_decimal_string(part, loan.exponent) for part in parts)
    balance = to_decimal_string(sum(parts), loan.exponent)
    return LoanBalance(loan.loan_id, balance, loan.currency, loan.version, texts)

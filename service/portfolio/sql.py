"""Computes the portfolio in Postgres, in one snapshot."""

from collections.abc import Iterator
from datetime import date

from service.portfolio.rows import LoanBalance, Total
from service.postgres.pool import ConnectionPool
from service.postgres.sql_fragments import SIGNED_AMT

_BALANCES = f"""
    SELECT l.loan_id, (l.initial_amt + coalesce(e.change, 0))::numeric(30, 2) AS balance, l.currency, l.version
    FROM loans AS l
    LEFT JOIN (SELECT loan_id, sum({SIGNED_AMT}) AS change FROM loan_events WHERE post_date <= %s GROUP BY loan_id) AS e
        USING (loan_id)
    WHERE l.start_date <= %s
"""  # noqa: S608  (built from constants, not from input)
_TOTALS = f"SELECT currency, count(*), sum(balance)::text FROM ({_BALANCES}) AS b GROUP BY currency ORDER BY currency"  # noqa: S608
_LOANS = f"SELECT loan_id, balance::text, currency, version FROM ({_BALANCES}) AS b ORDER BY loan_id"  # noqa: S608


class SqlPortfolio:
    """The portfolio of the ledger's tables.

    Args:
        database: A separate pool, since these queries may take long and must not block others.
    """

    def __init__(self, database: ConnectionPool) -> None:
        self._database = database

    def totals(self, day: date) -> list[Total]:
        """Return a total for each currency, sorted by currency.

        Raises:
            DatabaseUnavailable: If the database cannot be read.
        """
        return [Total(*row) for row in self._database.rows(_TOTALS, (day, day))]

    def loans(self, day: date) -> Iterator[list[LoanBalance]]:
        """Yield the loans that had started by the day in batches, sorted by id, all of one snapshot.

        Raises:
            DatabaseUnavailable: If the database cannot be read, before the first batch or later.
        """
        for rows in self._database.stream(_LOANS, (day, day)):
            yield [LoanBalance(*row) for row in rows]

"""What all loans together owed on a day, added up by Postgres in one snapshot."""

from collections.abc import Iterator
from datetime import date

from service.portfolio.rows import Owed, Total
from service.postgres.pool import ConnectionPool
from service.postgres.sql_fragments import SIGNED_AMT

_OWED = f"""
    SELECT l.loan_id, (l.initial_amt + coalesce(e.change, 0))::numeric(30, 2) AS balance, l.currency, l.version
    FROM loans AS l
    LEFT JOIN (SELECT loan_id, sum({SIGNED_AMT}) AS change FROM loan_events WHERE post_date <= %s GROUP BY loan_id) AS e
        USING (loan_id)
    WHERE l.start_date <= %s
"""  # noqa: S608  (put together from constants, not from input)
_TOTALS = f"SELECT currency, count(*), sum(balance)::text FROM ({_OWED}) AS o GROUP BY currency ORDER BY currency"  # noqa: S608
_LOANS = f"SELECT loan_id, balance::text, currency, version FROM ({_OWED}) AS o ORDER BY loan_id"  # noqa: S608


class SqlPortfolio:
    """All loans, over a database of its own: a question may take long, and is not to hold up others."""

    def __init__(self, database: ConnectionPool) -> None:
        self._database = database

    def totals(self, day: date) -> list[Total]:
        """A total for each currency, in their order. Raises: DatabaseUnavailable."""
        return [Total(*row) for row in self._database.rows(_TOTALS, (day, day))]

    def loans(self, day: date) -> Iterator[list[Owed]]:
        """Each loan that had started by the day, in the order of their ids and some at a time, all of one snapshot.

        The first are read at once. Raises: DatabaseUnavailable, here and later.
        """
        for rows in self._database.stream(_LOANS, (day, day)):
            yield [Owed(*row) for row in rows]

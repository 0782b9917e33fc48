"""The whole book as a page shows it: the totals of each currency at the end of each month, and the largest loans."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from service.domain.date_range import DateRange
from service.domain.history import month_ends
from service.portfolio.sql import LOAN_BALANCES, RowSource
from service.postgres.sql_fragments import SIGNED_AMT

MAX_MONTHS = 120
"""The most months of a history: ten years."""

# A loan's version is the number of its records; agreements are those that are no events.
_SIZE = """
    SELECT count(*), coalesce(sum(version - agreements), 0)::bigint, coalesce(sum(agreements), 0)::bigint FROM loans
"""
# One pass over the events, for any number of months. An event dated before its loan's start counts from the
# start on. What is earlier than the first month belongs to it.
_CHANGES = f"""
    SELECT currency, max(exponent), date_trunc('month', greatest(day, %(first)s))::date AS month, sum(loans)::bigint,
           sum(change)
    FROM (
        SELECT l.currency, l.exponent, l.start_date AS day, l.initial_amt AS change, 1 AS loans
        FROM loans AS l WHERE l.start_date <= %(last)s
        UNION ALL
        SELECT l.currency, l.exponent, greatest(e.post_date, l.start_date), {SIGNED_AMT}, 0
        FROM loan_events AS e JOIN loans AS l USING (loan_id)
        WHERE e.post_date <= %(last)s AND l.start_date <= %(last)s
    ) AS changes
    GROUP BY currency, month
"""  # noqa: S608  (built from constants, not from input)
# Parameters: day, currency, limit.
_LARGEST = f"""
    SELECT loan_id, exponent, (balance * 10::numeric ^ exponent)::bigint, version FROM ({LOAN_BALANCES}) AS b
    WHERE currency = %(currency)s ORDER BY balance DESC, loan_id LIMIT %(limit)s
"""  # noqa: S608


class BookSize(NamedTuple):
    """How many loans, events and agreements the ledger has."""

    loans: int
    events: int
    agreements: int


class MonthTotal(NamedTuple):
    """The loans in one currency at the end of a day: how many had started, and their balances in minor units."""

    day: date
    loans: int
    balance: int


class CurrencyHistory(NamedTuple):
    """The loans in one currency at the ends of months, and on the last day.

    Attributes:
        currency: ISO 4217 code.
        digits: The most decimals that any of these loans has.
        months: In the order of their days, from the first month in which a loan had started.
    """

    currency: str
    digits: int
    months: list[MonthTotal]

    @property
    def latest(self) -> MonthTotal:
        """The total at the end of the last day."""
        return self.months[-1]


class LargeLoan(NamedTuple):
    """A loan and its balance at the end of a day, in minor units."""

    loan_id: int
    digits: int
    balance: int
    version: int


class Book:
    """The loans of the ledger's tables.

    Args:
        database: The primary, as for `SqlPortfolio`.
    """

    def __init__(self, database: RowSource) -> None:
        self._database = database

    def size(self) -> BookSize:
        """Return the number of loans and of their records, without reading these.

        Raises:
            DatabaseUnavailable: If the database cannot be read.
        """
        [row] = self._database.rows(_SIZE)
        return BookSize(*row)

    def months(self, last: date, months: int) -> list[CurrencyHistory]:
        """Return the totals over the months until a day, by currency. This reads all events once.

        Args:
            last: The last day.
            months: The number of months, at most MAX_MONTHS.

        Raises:
            DatabaseUnavailable: If the database cannot be read.
        """
        number = max(12, last.year * 12 + last.month - min(months, MAX_MONTHS))  # no month precedes the year 1
        first = date(number // 12, number % 12 + 1, 1)
        days = [*month_ends(DateRange(first, last))]
        rows = self._database.rows(_CHANGES, {"first": first, "last": last})
        by_currency: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for currency, *columns in rows:
            by_currency[currency].append(tuple(columns))
        return [_accumulate(currency, by_currency[currency], days) for currency in sorted(by_currency)]

    def largest(self, day: date, currency: str, limit: int) -> list[LargeLoan]:
        """Return the loans with the highest balances at the end of a day. This reads the events of all loans.

        Raises:
            DatabaseUnavailable: If the database cannot be read.
        """
        return [
            LargeLoan(*row) for row in self._database.rows(_LARGEST, {"day": day, "currency": currency, "limit": limit})
        ]


def _accumulate(currency: str, rows: Iterable[tuple[int, date, int, Decimal]], days: list[date]) -> CurrencyHistory:
    changes = {month: (loans, change) for _, month, loans, change in rows}
    digits = max(exponent for exponent, *_ in rows)
    months, loans, balance = [], 0, Decimal(0)
    for day in days:
        more, change = changes.get(day.replace(day=1), (0, Decimal(0)))
        loans, balance = loans + more, balance + change
        if loans:
            months.append(MonthTotal(day, loans, int(balance.scaleb(digits))))
    return CurrencyHistory(currency, digits, months)

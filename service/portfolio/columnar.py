"""Computes the portfolio from a columnar file."""

import os
from collections.abc import Iterator
from datetime import date
from itertools import compress

from native import day_number
from service.portfolio.amounts import Amounts, LoanKeys
from service.portfolio.columnar_file import ColumnarFile
from service.portfolio.kernel import compute_amounts
from service.portfolio.rows import BALANCES, Details, LoanBalance, Total
from service.portfolio.sums import Sums


class ColumnarPortfolio:
    """The portfolio of a columnar file. It returns the same values as `SqlPortfolio`.

    Args:
        ledger: The opened file.
    """

    def __init__(self, ledger: ColumnarFile) -> None:
        self._columns = ledger.columns._asdict()
        self._keys = LoanKeys(ledger.columns.loan_ids, ledger.columns.versions, ledger.currencies())
        self._threads = os.cpu_count() or 1

    def totals(self, day: date, details: Details = BALANCES) -> list[Total]:
        """Return a total for each currency, sorted by currency.

        Args:
            day: The day at whose end the balances count.
            details: What to add to the balances.
        """
        sums = Sums(details)
        self._amounts(day, details).include_in(sums, self._keys, self._started(day))
        return sums.totals()

    def loans(self, day: date, details: Details = BALANCES) -> Iterator[LoanBalance]:
        """Return the balance of each loan that had started by the day, sorted by id.

        Args:
            day: The day at whose end the balances count.
            details: What to add to the balances.
        """
        return compress(self._amounts(day, details).rows(self._keys), self._started(day))

    def _amounts(self, day: date, details: Details) -> Amounts:
        return compute_amounts(day_number(day), self._columns, details, self._threads)

    def _started(self, day: date) -> list[bool]:
        number = day_number(day)
        return [start_day <= number for start_day in self._columns["start_days"]]

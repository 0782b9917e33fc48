"""Computes the portfolio from a columnar file, with the compiled kernel."""

import os
from collections.abc import Iterator
from datetime import date
from itertools import compress

from native import day_number
from service.domain.money import to_decimal_string
from service.portfolio.columnar_file import ColumnarFile
from service.portfolio.rows import LoanBalance, Total


class ColumnarPortfolio:
    """The portfolio of a columnar file. It returns the same values as `SqlPortfolio`.

    Args:
        ledger: The opened file.
    """

    def __init__(self, ledger: ColumnarFile) -> None:
        self._ledger = ledger
        self._currencies = ledger.currencies()
        self._threads = os.cpu_count() or 1

    def totals(self, day: date) -> list[Total]:
        """Return a total for each currency, sorted by currency."""
        balances = self._ledger.balances(day_number(day), self._threads)
        started = self._started(day)
        totals = []
        for currency in sorted(set(compress(self._currencies, started))):
            selected = [began and name == currency for began, name in zip(started, self._currencies, strict=True)]
            totals.append(Total(currency, sum(selected), to_decimal_string(sum(compress(balances, selected)))))
        return totals

    def loans(self, day: date) -> Iterator[LoanBalance]:
        """Return the balance of each loan that had started by the day, sorted by id."""
        columns = self._ledger.columns
        balances = map(to_decimal_string, self._ledger.balances(day_number(day), self._threads))
        rows = map(LoanBalance, columns.loan_ids, balances, self._currencies, columns.versions)
        return compress(rows, self._started(day))

    def _started(self, day: date) -> list[bool]:
        number = day_number(day)
        return [start_day <= number for start_day in self._ledger.columns.start_days]

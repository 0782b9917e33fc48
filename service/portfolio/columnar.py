"""Computes the portfolio from a columnar file, with the compiled kernels."""

import os
from array import array
from collections.abc import Iterator
from datetime import date
from itertools import compress

from native import PARTS, day_number
from service.domain.money import to_decimal_string
from service.portfolio.columnar_file import ColumnarFile
from service.portfolio.rows import LoanBalance, Sums, Total


class ColumnarPortfolio:
    """The portfolio of a columnar file. It returns the same values as `SqlPortfolio`.

    Args:
        ledger: The opened file.
    """

    def __init__(self, ledger: ColumnarFile) -> None:
        self._ledger = ledger
        self._currencies = ledger.currencies()
        self._threads = os.cpu_count() or 1

    def totals(self, day: date, parts: bool = False) -> list[Total]:
        """Return a total for each currency, sorted by currency.

        Args:
            day: The day at whose end the balances count.
            parts: Whether to add the sums of the parts.
        """
        amounts = self._amounts(day, parts)
        started = self._started(day)
        sums = Sums()
        for currency in set(compress(self._currencies, started)):
            selected = [began and other == currency for began, other in zip(started, self._currencies, strict=True)]
            sums.include(*currency, sum(selected), [sum(compress(column, selected)) for column in amounts])
        return sums.totals()

    def loans(self, day: date, parts: bool = False) -> Iterator[LoanBalance]:
        """Return the balance of each loan that had started by the day, sorted by id.

        Args:
            day: The day at whose end the balances count.
            parts: Whether to add the parts of each balance.
        """
        columns = self._ledger.columns
        names, digits = zip(*self._currencies, strict=True) if self._currencies else ((), ())
        balances, *split = (map(to_decimal_string, column, digits) for column in self._amounts(day, parts))
        fields = [columns.loan_ids, balances, names, columns.versions]
        if parts:
            fields.append(zip(*split, strict=True))
        return compress(map(LoanBalance, *fields), self._started(day))

    def _amounts(self, day: date, parts: bool) -> "list[array[int]]":
        """Return the balance of each loan, and its parts if requested, in minor units."""
        number = day_number(day)
        balances = self._ledger.balances(number, self._threads)
        if not parts:
            return [balances]
        split = self._ledger.parts(number, self._threads)
        return [balances, *(split[part :: len(PARTS)] for part in range(len(PARTS)))]

    def _started(self, day: date) -> list[bool]:
        number = day_number(day)
        return [start_day <= number for start_day in self._ledger.columns.start_days]

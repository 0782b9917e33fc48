"""What all loans together owed on a day, computed by the kernel over a ledger in columns."""

import os
from collections.abc import Iterator
from datetime import date
from itertools import compress

from native import day_number
from service.domain.money import to_decimal_string
from service.portfolio.columnar_file import ColumnarFile
from service.portfolio.rows import Owed, Total


class ColumnarPortfolio:
    """All loans of a file. Its answers are those of `SqlPortfolio`."""

    def __init__(self, ledger: ColumnarFile) -> None:
        self._ledger = ledger
        self._currencies = ledger.currencies()
        self._threads = os.cpu_count() or 1

    def totals(self, day: date) -> list[Total]:
        """A total for each currency, in their order."""
        balances = self._ledger.balances(day_number(day), self._threads)
        started = self._started(day)
        totals = []
        for currency in sorted(set(compress(self._currencies, started))):
            chosen = [began and name == currency for began, name in zip(started, self._currencies, strict=True)]
            totals.append(Total(currency, sum(chosen), to_decimal_string(sum(compress(balances, chosen)))))
        return totals

    def loans(self, day: date) -> Iterator[Owed]:
        """Each loan that had started by the day, in the order of their ids."""
        columns = self._ledger.columns
        balances = map(to_decimal_string, self._ledger.balances(day_number(day), self._threads))
        owed = map(Owed, columns.loan_ids, balances, self._currencies, columns.versions)
        return compress(owed, self._started(day))

    def _started(self, day: date) -> list[bool]:
        today = day_number(day)
        return [first <= today for first in self._ledger.columns.start_days]

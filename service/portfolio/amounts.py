"""The amounts of many loans on one day, in columns: their rows, and their sums."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from service.domain.arrears import bucket_of
from service.domain.money import to_decimal_string
from service.portfolio.rows import LoanBalance
from service.portfolio.sums import Sums


class LoanKeys(NamedTuple):
    """What identifies n loans, and says how to show their amounts.

    Attributes:
        loan_ids: The loans.
        versions: Their versions.
        currencies: Their currencies, and the numbers of decimals of their amounts.
    """

    loan_ids: Iterable[int]
    versions: Iterable[int]
    currencies: Sequence[tuple[str, int]]


class Amounts(NamedTuple):
    """Columns of n loans, in minor units. What was not requested is empty.

    Attributes:
        balances: Their balances.
        parts: Their fees, interest and principal.
        payoff: The interest not charged yet, and the payoff; 0 in case of an error.
        arrears: The amount past due, and the days past due; 0 in case of an error.
        errors: 1 for a loan whose payoff or arrears do not fit 64 bits, otherwise 0.
    """

    balances: Sequence[int]
    parts: Sequence[Sequence[int]] = ()
    payoff: Sequence[Sequence[int]] = ()
    arrears: Sequence[Sequence[int]] = ()
    errors: Sequence[int] = ()

    def rows(self, keys: LoanKeys) -> Iterator[LoanBalance]:
        """Yield a row for each loan."""
        names, digits = zip(*keys.currencies, strict=True) if keys.currencies else ((), ())

        def texts(column: Iterable[int]) -> Iterator[str]:
            return map(to_decimal_string, column, digits)

        nothing = [()] * len(names)
        parts = zip(*map(texts, self.parts), strict=True) if self.parts else nothing
        payoff = self._unless_error(map(texts, self.payoff)) if self.payoff else nothing
        arrears: Iterable[tuple[str, ...]] = nothing
        if self.arrears:
            past_due, days = self.arrears
            arrears = self._unless_error((texts(past_due), map(str, days), self._buckets()))
        errors = self.errors or [0] * len(names)
        return map(
            LoanBalance, keys.loan_ids, texts(self.balances), names, keys.versions, parts, payoff, arrears, errors
        )

    def include_in(self, sums: Sums, keys: LoanKeys, started: Iterable[bool]) -> None:
        """Include the loans that have started in sums."""
        groups: defaultdict[tuple[tuple[str, int], str], list[int]] = defaultdict(list)
        buckets = self._buckets() if self.arrears else [""] * len(self.balances)
        for position, (key, is_included) in enumerate(
            zip(zip(keys.currencies, buckets, strict=True), started, strict=True)
        ):
            if is_included:
                groups[key].append(position)
        columns = (self.balances, *self.parts, *self.payoff, *self.arrears[:1])
        for ((currency, digits), bucket), positions in groups.items():
            amounts = (Decimal(_sum(column, positions)).scaleb(-digits) for column in columns)
            errors = _sum(self.errors, positions) if self.errors else 0
            sums.include(currency, bucket, len(positions), errors, amounts)

    def _buckets(self) -> list[str]:
        """Return the bucket of each loan; empty in case of an error."""
        days = self.arrears[1]
        names = {number: bucket_of(number) for number in set(days)}
        return ["" if error else names[number] for number, error in zip(days, self.errors, strict=True)]

    def _unless_error(self, columns: Iterable[Iterable[str]]) -> Iterator[tuple[str, ...]]:
        """Yield the texts of each loan; empty ones in case of an error."""
        for error, *texts in zip(self.errors, *columns, strict=True):
            yield tuple(texts) if not error else ("",) * len(texts)


def _sum(column: Sequence[int], positions: Iterable[int]) -> int:
    return sum(map(column.__getitem__, positions))

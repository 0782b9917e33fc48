"""Sums of loans by currency and bucket."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import islice
from operator import add

from native import PARTS
from service.domain.arrears import BUCKETS
from service.portfolio.rows import Details, LoanBalance, Total

_ZERO = Decimal(0)


class Sums:
    """Exact sums. Loans in one currency may have different numbers of decimals.

    Decimals of the default context are exact up to 28 digits; sums have fewer.

    Args:
        details: What is added to the balances.
    """

    def __init__(self, details: Details) -> None:
        self._details = details
        # The amounts that an error leaves out follow the others.
        self._certain = 1 + len(PARTS) * details.parts
        self._width = self._certain + 2 * details.payoff + details.arrears
        self._sums: dict[tuple[str, str], tuple[int, int, list[Decimal]]] = {}

    def include(self, currency: str, bucket: str, loans: int, errors: int, amounts: Iterable[Decimal]) -> None:
        """Include loans of one currency and bucket.

        Args:
            currency: Their currency.
            bucket: Their bucket; empty if arrears are not requested or not known.
            loans: How many they are.
            errors: How many of them have no payoff and no arrears.
            amounts: The sums of their balances, then of what is requested: three parts, the interest not charged yet
                and the payoff, and the amount past due.
        """
        before = self._sums.get((currency, bucket), (0, 0, [_ZERO] * self._width))
        self._sums[currency, bucket] = before[0] + loans, before[1] + errors, [*map(add, before[2], amounts)]

    def include_loan(self, loan: LoanBalance) -> None:
        """Include one loan."""
        amounts = [Decimal(loan.balance), *map(Decimal, loan.parts)]
        if self._details.can_fail:
            uncertain = (*loan.payoff, *loan.arrears[:1])
            amounts += [_ZERO] * len(uncertain) if loan.errors else map(Decimal, uncertain)
        self.include(loan.currency, loan.arrears[2] if loan.arrears else "", 1, loan.errors, amounts)

    def totals(self) -> list[Total]:
        """Return a total for each currency, sorted by currency."""
        return [self._currency_total(currency) for currency in sorted({currency for currency, _ in self._sums})]

    def _currency_total(self, currency: str) -> Total:
        groups = {bucket: sums for (name, bucket), sums in self._sums.items() if name == currency}
        digits = max(-int(amount.as_tuple().exponent) for _, _, amounts in groups.values() for amount in amounts)
        loans, errors, columns = zip(*groups.values(), strict=True)
        whole = sum(loans), sum(errors), [sum(column, _ZERO) for column in zip(*columns, strict=True)]
        nothing = 0, 0, [_ZERO] * self._width
        buckets = (
            self._total(currency, digits, *groups.get(bucket, nothing))._replace(bucket=bucket) for bucket in BUCKETS
        )
        return self._total(currency, digits, *whole)._replace(buckets=tuple(buckets) if self._details.arrears else ())

    def _total(self, currency: str, digits: int, loans: int, errors: int, amounts: Iterable[Decimal]) -> Total:
        texts: Iterator[str] = (f"{amount:.{digits}f}" for amount in amounts)
        balance = next(texts)
        parts, payoff = islice(texts, self._certain - 1), islice(texts, 2 * self._details.payoff)
        return Total(currency, loans, balance, tuple(parts), tuple(payoff), tuple(texts), errors)

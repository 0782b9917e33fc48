"""The rows of a portfolio, independent of how it was computed."""

from collections.abc import Iterable
from operator import add
from typing import NamedTuple

from service.domain.money import to_decimal_string


class Total(NamedTuple):
    """The sum of the loans in one currency at the end of a day.

    Attributes:
        currency: ISO 4217 code.
        loans: Number of loans that had started.
        balance: A decimal string, with the most decimals that any of these loans has.
        parts: The sums of fees, interest and principal, as decimal strings; empty if not requested.
    """

    currency: str
    loans: int
    balance: str
    parts: tuple[str, ...] = ()


class LoanBalance(NamedTuple):
    """The balance of one loan at the end of a day.

    Attributes:
        loan_id: The loan.
        balance: A decimal string.
        currency: ISO 4217 code.
        version: The loan's version when it was read.
        parts: Its fees, interest and principal, as decimal strings; empty if not requested.
    """

    loan_id: int
    balance: str
    currency: str
    version: int
    parts: tuple[str, ...] = ()


class Sums:
    """Exact sums of loans by currency. Loans in one currency may have different numbers of decimals."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, int], list[int]] = {}

    def include(self, currency: str, exponent: int, loans: int, amounts: Iterable[int]) -> None:
        """Include loans of one currency and exponent.

        Args:
            currency: Their currency.
            exponent: Their number of decimals.
            loans: How many they are, at least one.
            amounts: The sum of their balances in minor units, followed by the sums of their parts, if requested.
        """
        included = [loans, *amounts]
        before = self._sums.get((currency, exponent), [0] * len(included))
        self._sums[currency, exponent] = [*map(add, before, included)]

    def totals(self) -> list[Total]:
        """Return a total for each currency, sorted by currency."""
        digits: dict[str, int] = {}
        for currency, exponent in self._sums:
            digits[currency] = max(exponent, digits.get(currency, 0))
        return [self._total(currency, digits[currency]) for currency in sorted(digits)]

    def _total(self, currency: str, digits: int) -> Total:
        scaled = [
            (loans, *(amount * 10 ** (digits - exponent) for amount in amounts))
            for (name, exponent), (loans, *amounts) in self._sums.items()
            if name == currency
        ]
        loans, *amounts = (sum(column) for column in zip(*scaled, strict=True))
        balance, *parts = (to_decimal_string(amount, digits) for amount in amounts)
        return Total(currency, loans, balance, tuple(parts))

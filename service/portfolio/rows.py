"""The rows of a portfolio, independent of how it was computed."""

from typing import NamedTuple


class Details(NamedTuple):
    """What to add to the balances of loans.

    Attributes:
        parts: Fees, interest and principal.
        payoff: The interest not charged yet, and the payoff.
        arrears: The amount past due, the days past due, and the bucket.
    """

    parts: bool = False
    payoff: bool = False
    arrears: bool = False

    @property
    def can_fail(self) -> bool:
        """Whether an amount may not fit 64 bits. Balances and their parts always do."""
        return self.payoff or self.arrears


BALANCES = Details()
"""Adds nothing."""


class Total(NamedTuple):
    """The sum of the loans in one currency at the end of a day, or of those in one of its buckets.

    Amounts are decimal strings with the most decimals that any loan in the currency has. What was not requested is
    empty.

    Attributes:
        currency: ISO 4217 code.
        loans: Number of loans that had started.
        balance: The sum of their balances.
        parts: The sums of fees, interest and principal.
        payoff: The sums of the interest not charged yet, and of the payoff.
        arrears: The sum of the amount past due.
        errors: Number of loans whose payoff or arrears do not fit 64 bits. The sums of these leave them out, and no
            bucket has them.
        bucket: The bucket; empty for the whole currency.
        buckets: The totals of all buckets.
    """

    currency: str
    loans: int
    balance: str
    parts: tuple[str, ...] = ()
    payoff: tuple[str, ...] = ()
    arrears: tuple[str, ...] = ()
    errors: int = 0
    bucket: str = ""
    buckets: "tuple[Total, ...]" = ()


class LoanBalance(NamedTuple):
    """One loan at the end of a day. What was not requested is empty.

    Attributes:
        loan_id: The loan.
        balance: A decimal string.
        currency: ISO 4217 code.
        version: The loan's version when it was read.
        parts: Its fees, interest and principal, as decimal strings.
        payoff: The interest not charged yet, and the payoff, as decimal strings; empty strings in case of an error.
        arrears: The amount past due as a decimal string, the days past due, and the bucket; empty strings in case of
            an error.
        errors: 1 if the payoff or the arrears do not fit 64 bits, otherwise 0.
    """

    loan_id: int
    balance: str
    currency: str
    version: int
    parts: tuple[str, ...] = ()
    payoff: tuple[str, ...] = ()
    arrears: tuple[str, ...] = ()
    errors: int = 0

"""The rows of a portfolio, independent of how it was computed."""

from typing import NamedTuple


class Total(NamedTuple):
    """The sum of the loans in one currency at the end of a day.

    Attributes:
        currency: ISO 4217 code.
        loans: Number of loans that had started.
        balance: A decimal string.
    """

    currency: str
    loans: int
    balance: str


class LoanBalance(NamedTuple):
    """The balance of one loan at the end of a day.

    Attributes:
        loan_id: The loan.
        balance: A decimal string.
        currency: ISO 4217 code.
        version: The loan's version when it was read.
    """

    loan_id: int
    balance: str
    currency: str
    version: int

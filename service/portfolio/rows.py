"""What is told of a portfolio, wherever it was computed."""

from typing import NamedTuple


class Total(NamedTuple):
    """What loans in one currency owed at the end of a day. loans: how many had started. balance: a decimal string."""

    currency: str
    loans: int
    balance: str


class Owed(NamedTuple):
    """What one loan owed at the end of a day. balance: a decimal string. version: the loan's, when it was read."""

    loan_id: int
    balance: str
    currency: str
    version: int

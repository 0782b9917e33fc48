"""Answers about loans: the one place that knows where a timeline is looked for, and in which order."""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from native import Timeline, day_number
from service.ledger import Ledger


@dataclass(frozen=True)
class Balance:
    """What a loan owed at the end of a day. balance: minor units. version: the loan's, when it was read."""

    loan_id: int
    day: date
    balance: int
    currency: str
    version: int


class BalanceReader:
    """Reads balances. timezone: where "today" is."""

    def __init__(self, ledger: Ledger, timezone: str = "UTC") -> None:
        self._ledger = ledger
        self._zone = ZoneInfo(timezone)

    def today(self) -> date:
        """The date now in the service's time zone."""
        return datetime.now(self._zone).date()

    def timeline(self, loan_id: int) -> Timeline:
        """The loan's whole ledger. Raises: UnknownLoan, DatabaseUnavailable."""
        return self._ledger.timeline(loan_id)

    def balance(self, loan_id: int, day: date) -> Balance:
        """What the loan owed at the end of the day. Raises: UnknownLoan, DatabaseUnavailable."""
        return self.balance_of(self.timeline(loan_id), day)

    @staticmethod
    def balance_of(timeline: Timeline, day: date) -> Balance:
        """What the loan of this ledger owed at the end of the day."""
        return Balance(timeline.loan_id, day, timeline.balance_at(day_number(day)), timeline.currency, timeline.version)

"""Answers about loans, for people and programs."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from service.ledger.timeline_lookup import LoanSnapshot, TimelineLookup


class BalanceReader:
    """Reads balances. timezone: where "today" is."""

    def __init__(self, timelines: TimelineLookup, timezone: str = "UTC") -> None:
        self._timelines = timelines
        self._zone = ZoneInfo(timezone)

    def today(self, moment: datetime | None = None) -> date:
        """The date now, or at a moment, in the service's time zone."""
        return (moment.astimezone(self._zone) if moment else datetime.now(self._zone)).date()

    def loan(self, loan_id: int, min_version: int = 0) -> LoanSnapshot:
        """The loan's whole ledger, of this version at least.

        Raises: UnknownLoan, DatabaseUnavailable, VersionNotReached.
        """
        return self._timelines.find(loan_id, min_version)

    def loan_at(self, loan_id: int, version: int) -> LoanSnapshot:
        """The loan's whole ledger as it was when it had so many events.

        Raises: UnknownLoan, DatabaseUnavailable, VersionNotReached.
        """
        return self._timelines.get_at_version(loan_id, version)

    def loan_known(self, loan_id: int, moment: datetime) -> LoanSnapshot:
        """The loan's whole ledger as far as it was recorded by then.

        Raises: UnknownLoan, DatabaseUnavailable, TimeNotReached.
        """
        return self._timelines.get_known_at(loan_id, moment)

    def loans(self, loan_ids: Sequence[int], together: bool = False) -> dict[int, LoanSnapshot]:
        """The ledgers of those of these loans that there are. together: all of one moment, read for this.

        Raises: DatabaseUnavailable.
        """
        return self._timelines.get_consistent(loan_ids) if together else self._timelines.find_many(loan_ids)

    def as_of(self, known: LoanSnapshot) -> datetime | None:
        """Up to when whatever was committed is in it; None of a ledger as it was at a version."""
        return self._timelines.as_of(known)

    def as_of_all(self, known: Iterable[LoanSnapshot]) -> datetime | None:
        """Up to when whatever was committed is in each of them; None of none."""
        oldest = min(known, key=lambda each: each.at, default=None)
        return self.as_of(oldest) if oldest is not None else None
